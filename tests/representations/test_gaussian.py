"""Divergences and products against torch.distributions and numerical integration."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from posebridge.representations.gaussian import Gaussian, joined, product_of_experts


def gaussian(seed: int, count: int = 3, dimensions: int = 4) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, count, dimensions, generator=generator, dtype=torch.float64)
    return Gaussian(mean, log_variance)


def as_normal(value: Gaussian) -> Normal:
    return Normal(value.mean, value.deviation)


def test_divergences_equal_those_of_torch():
    first, second = gaussian(0), gaussian(1)
    assert torch.allclose(first.divergence(second), kl_divergence(as_normal(first), as_normal(second)))
    prior = Normal(torch.zeros_like(first.mean), torch.ones_like(first.mean))
    assert torch.allclose(first.divergence(), kl_divergence(as_normal(first), prior))
    assert torch.allclose(first.divergence(), first.divergence(Gaussian.standard(first.mean)))


def test_samples_have_the_moments_and_gradients_of_their_gaussian():
    mean = torch.full((200_000, 1), 0.7, requires_grad=True)
    log_variance = torch.full((200_000, 1), -1.0, requires_grad=True)
    sample = Gaussian(mean, log_variance).sample(torch.Generator().manual_seed(0))
    assert sample.mean().item() == pytest.approx(0.7, abs=0.01)
    assert sample.var().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.02)
    # d E[z^2] / d log variance is the variance.
    sample.square().mean().backward()
    assert log_variance.grad is not None
    assert log_variance.grad.sum().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.05)


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("experts", [1, 2, 3])
def test_products_equal_integrals_on_a_line(experts, prior):
    given = [gaussian(seed, 1, 1) for seed in range(experts)]
    line = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    factors = [as_normal(expert) for expert in given] + ([Normal(0.0, 1.0)] if prior else [])
    log_density = torch.stack([factor.log_prob(line).flatten() for factor in factors]).sum(0)
    weight = (log_density - log_density.max()).exp()
    mean = (weight * line).sum() / weight.sum()
    variance = (weight * (line - mean).square()).sum() / weight.sum()
    found = product_of_experts(given, prior)
    assert found.mean.item() == pytest.approx(mean.item(), abs=1e-6)
    assert found.log_variance.exp().item() == pytest.approx(variance.item(), rel=1e-6)


def test_products_of_very_certain_experts_are_finite():
    certain = Gaussian(torch.tensor([[1.0]]), torch.tensor([[-200.0]]))
    vague = Gaussian(torch.tensor([[5.0]]), torch.tensor([[200.0]]))
    found = product_of_experts([certain, vague])
    assert found.mean.item() == 1
    assert found.log_variance.item() == -200


def test_a_product_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one expert"):
        product_of_experts([])


def test_parts_are_the_marginals_of_the_whole():
    first, second = gaussian(0), gaussian(1)
    whole = joined([first, second])
    assert torch.equal(whole.dimensions(0, 4).mean, first.mean)
    assert torch.equal(whole.dimensions(4, 8).log_variance, second.log_variance)
    assert torch.equal(whole.divergence(), torch.cat([first.divergence(), second.divergence()], 1))
    assert len(whole[:2]) == 2


def test_products_without_some_experts():
    """Each sample is the product of the experts that are present, and the others get no gradient from it."""
    given = [gaussian(seed, 4, 2) for seed in range(3)]
    present = torch.tensor([[True, False, True, False], [True, True, False, False], [False, False, False, True]])
    log_variance = given[2].log_variance.clone().requires_grad_()
    found = product_of_experts([*given[:2], Gaussian(given[2].mean, log_variance)], present=[*present])
    for sample in range(4):
        of_sample = [expert[sample : sample + 1] for expert, there in zip(given, present, strict=True) if there[sample]]
        expected = product_of_experts(of_sample)
        torch.testing.assert_close(found.mean[sample], expected.mean[0])
        torch.testing.assert_close(found.log_variance[sample], expected.log_variance[0])
    found.log_variance.sum().backward()
    assert log_variance.grad is not None
    assert log_variance.grad[:3].abs().max() == 0
    torch.testing.assert_close(log_variance.grad[3], torch.ones_like(log_variance.grad[3]))


def test_without_any_expert_the_prior_remains():
    found = product_of_experts([gaussian(0, 2, 3)], prior=True, present=[torch.tensor([False, True])])
    assert torch.equal(found.mean[0], torch.zeros_like(found.mean[0]))
    assert torch.equal(found.log_variance[0], torch.zeros_like(found.mean[0]))
    with pytest.raises(ValueError, match="at least one expert of each sample"):
        product_of_experts([gaussian(0, 2, 3)], present=[torch.tensor([False, True])])


def test_spread_gaussians_keep_their_rows():
    given = gaussian(0, 2, 3)
    spread = given.spread(torch.tensor([3, 1]), 5)
    assert torch.equal(spread.mean[[3, 1]], given.mean)
    assert torch.equal(spread.log_variance[[3, 1]], given.log_variance)
    assert not spread.divergence()[[0, 2, 4]].any()
