import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.autograd import gradcheck

from posebridge.losses.keypoints import (
    combine,
    coordinate_smooth_l1,
    heatmap_cross_entropy,
    heatmap_l2,
    weighted_mean,
)
from posebridge.representations.heatmaps import encode_gaussian

B, J, H, W = 2, 3, 5, 4


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussians() -> torch.Tensor:
    return encode_gaussian(1 + 2 * random(B, J, 2, seed=9).sigmoid(), H, W, 1.0, "sum")[0]


def test_l2_is_the_norm_of_each_map():
    predicted, target = random(B, J, H, W), random(B, J, H, W, seed=1)
    expected = np.linalg.norm((predicted - target).numpy().reshape(B, J, -1), axis=-1)
    np.testing.assert_allclose(heatmap_l2(predicted, target).numpy(), expected)


def test_l2_has_a_finite_gradient_at_the_target():
    predicted = gaussians().requires_grad_()
    (gradient,) = torch.autograd.grad(heatmap_l2(predicted, gaussians()).sum(), predicted)
    assert (gradient == 0).all()


def test_cross_entropy_against_scipy():
    logits, target = 3 * random(B, J, H, W), gaussians()
    cross_entropy = heatmap_cross_entropy(logits, target)
    for b in range(B):
        for j in range(J):
            p = target[b, j].numpy().ravel()
            q = special.softmax(logits[b, j].numpy().ravel())
            assert float(cross_entropy[b, j]) == pytest.approx(stats.entropy(p) + stats.entropy(p, q))


def test_cross_entropy_is_smallest_at_the_target():
    target = gaussians()
    logits = target.log().requires_grad_()
    (gradient,) = torch.autograd.grad(heatmap_cross_entropy(logits, target).sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_joints_off_the_map_have_no_loss():
    logits = random(1, 1, H, W).requires_grad_()
    nothing = torch.zeros(1, 1, H, W, dtype=torch.float64)
    loss = heatmap_cross_entropy(logits, nothing)
    loss.sum().backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_cross_entropy_of_extreme_logits_stays_finite():
    logits = torch.tensor([[[[1e4, -1e4], [0.0, 0.0]]]], requires_grad=True)
    target = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    loss = heatmap_cross_entropy(logits, target)
    loss.sum().backward()
    assert loss.item() == pytest.approx(2e4)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("beta", [0.1, 1.0, 4.0])
def test_smooth_l1_is_hubers_loss_over_beta(beta):
    predicted, target = 3 * random(B, J, 2), random(B, J, 2, seed=1)
    expected = special.huber(beta, predicted.numpy() - target.numpy()).sum(-1) / beta
    np.testing.assert_allclose(coordinate_smooth_l1(predicted, target, beta).numpy(), expected)


@pytest.mark.parametrize("loss", [heatmap_l2, heatmap_cross_entropy])
def test_heat_map_gradients_by_finite_differences(loss):
    target = gaussians()
    assert gradcheck(lambda x: loss(x, target), random(B, J, H, W).requires_grad_())


def test_coordinate_gradients_by_finite_differences():
    target = random(B, J, 2, seed=1)
    assert gradcheck(lambda x: coordinate_smooth_l1(x, target), (2 * random(B, J, 2)).requires_grad_())


def test_weighted_mean_is_numpys_average():
    values, weights = random(B, J), random(B, J, seed=1).abs()
    expected = np.average(values.numpy(), weights=weights.numpy())
    assert weighted_mean(values, weights).item() == pytest.approx(expected)
    mask = weights > 0.5
    assert weighted_mean(values, mask).item() == pytest.approx(values[mask].mean().item())


def test_weighted_mean_of_nothing_is_zero_with_zero_gradient():
    values = random(B, J).requires_grad_()
    mean = weighted_mean(values, torch.zeros(B, J))
    mean.backward()
    assert mean.item() == 0
    assert (values.grad == 0).all()


def test_weighted_mean_ignores_values_without_weight():
    values = torch.tensor([1.0, float("nan"), 3.0, float("inf")], requires_grad=True)
    mean = weighted_mean(values, torch.tensor([1.0, 0.0, 3.0, 0.0]))
    mean.backward()
    assert mean.item() == 2.5
    assert values.grad.tolist() == [0.25, 0.0, 0.75, 0.0]


def test_weighted_mean_needs_equal_shapes():
    with pytest.raises(ValueError, match="same shape"):
        weighted_mean(torch.zeros(2, 3), torch.zeros(2, 1))


def test_combine_is_a_dot_product_and_passes_gradients():
    terms = {"heatmap": torch.tensor(2.0, requires_grad=True), "depth": torch.tensor(3.0)}
    total = combine(terms, {"depth": 0.1, "heatmap": 10.0})
    total.backward()
    assert total.item() == pytest.approx(20.3)
    assert terms["heatmap"].grad.item() == 10


@pytest.mark.parametrize("weights", [{}, {"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "B": 1.0}])
def test_combine_refuses_names_that_do_not_match(weights):
    with pytest.raises(ValueError, match="must match"):
        combine({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, weights)


def test_combine_refuses_nothing():
    with pytest.raises(ValueError, match="no term"):
        combine({}, {})
