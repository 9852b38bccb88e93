"""Eq. 2 in plain Python."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from posebridge.losses.contrastive import nt_xent


def features(count: int, width: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return z, z + 0.3 * torch.randn(count, width, generator=generator, dtype=torch.float64)


def cosine(a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def as_printed(z: list[list[float]], z_plus: list[list[float]], tau: float) -> list[float]:
    losses = []
    for i in range(len(z)):
        above = math.exp(cosine(z[i], z_plus[i]) / tau)
        below = 0.0
        for k in range(len(z)):
            if k != i:
                below += math.exp(cosine(z[i], z[k]) / tau) + math.exp(cosine(z[i], z_plus[k]) / tau)
        losses.append(-math.log(above / below))
    return losses


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("tau", [0.5, 0.07, 2.0])
def test_against_a_double_loop_of_eq_2(count, tau):
    z, z_plus = features(count)
    assert nt_xent(z, z_plus, tau).tolist() == pytest.approx(as_printed(z.tolist(), z_plus.tolist(), tau), rel=1e-9)
    if tau == 0.5:
        assert torch.equal(nt_xent(z, z_plus), nt_xent(z, z_plus, 0.5))


def test_by_hand():
    """Equal pairs and opposite samples: -log(e^2 / 2 e^-2). The denominator has no positive pair."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expected = -math.log(math.exp(2) / (2 * math.exp(-2)))
    assert nt_xent(z, 5 * z).tolist() == pytest.approx([expected] * 2)
    assert expected < 0


def test_loss_depends_on_directions_only():
    z, z_plus = features(4)
    lengths = torch.tensor([[0.1], [3.0], [20.0], [1.0]])
    torch.testing.assert_close(nt_xent(lengths * z, lengths.flip(0) * z_plus), nt_xent(z, z_plus))


def test_loss_is_lower_for_matching_pairs():
    z, z_plus = features(4)
    assert (nt_xent(z, z_plus) < nt_xent(z, z_plus.roll(1, 0))).all()


@pytest.mark.parametrize("count", [0, 1])
def test_one_sample_is_refused(count):
    with pytest.raises(ValueError, match="at least two"):
        nt_xent(*features(count))


def test_gradients_by_finite_differences():
    z, z_plus = (value.requires_grad_() for value in features(3, 4))
    assert gradcheck(nt_xent, (z, z_plus))


def test_features_of_zero_have_finite_gradients():
    z = torch.zeros(3, 4, requires_grad=True)
    loss = nt_xent(z, torch.ones(3, 4)).sum()
    loss.backward()
    assert loss.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()
