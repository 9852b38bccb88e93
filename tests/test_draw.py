"""Random draws: their distributions, and their generator."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from posebridge.draw import chance, choice, generator_for, log_uniform, normal, uniform

N = 20_000


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        (uniform(_generator(), -2.0, 3.0, N), stats.uniform(-2, 5)),
        (log_uniform(_generator(), 0.1, 10.0, N), stats.loguniform(0.1, 10)),
        (normal(_generator(), 0.5, N), stats.norm(0, 0.5)),
    ],
    ids=["uniform", "log_uniform", "normal"],
)
def test_distributions(values, distribution):
    assert stats.kstest(values.double().numpy(), distribution.cdf).pvalue > 0.01


def test_shares():
    assert chance(_generator(), 0.3, N).float().mean().item() == pytest.approx(0.3, abs=0.015)
    assert not chance(_generator(), 0.0, N).any()
    assert chance(_generator(), 1.0, N).all()
    counts = np.bincount(choice(_generator(), (3.0, 0.0, 1.0), N).numpy(), minlength=3)
    np.testing.assert_allclose(counts / N, [0.75, 0.0, 0.25], atol=0.015)


def test_shapes():
    assert uniform(_generator(), 0, 1, 2, 3).shape == log_uniform(_generator(), 1, 2, 2, 3).shape == (2, 3)
    assert normal(_generator(), 1.0).shape == chance(_generator(), 0.5).shape == ()


def test_empty_ranges_are_constants():
    assert (uniform(_generator(), 0.4, 0.4, 9) == 0.4).all()
    assert math.isclose(log_uniform(_generator(), 0.4, 0.4).item(), 0.4, rel_tol=1e-6)
    assert not normal(_generator(), 0.0, 9).any()


def test_every_stream_and_item_has_its_own_numbers():
    first = {(s, i): torch.rand(4, generator=generator_for(s, i)) for s in range(40) for i in range(40)}
    assert len({tuple(values.tolist()) for values in first.values()}) == 1600
    flat = torch.stack(list(first.values())).flatten()
    assert stats.kstest(flat.numpy(), "uniform").pvalue > 0.01  # neighbouring seeds start differently
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4, generator=generator_for(7, 9)), first[7, 9])
