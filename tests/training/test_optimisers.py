import math

import pytest
import torch
from torch import nn

from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.source_only import SourceOnlyConfig
from posebridge.presets.table import find_preset
from posebridge.training.optimisers import ParameterGroup, Schedule, optimiser, planned_steps


def test_steps_fall_to_a_tenth_at_each_drop():
    schedule = Schedule(steps=30, decay="steps", drops=(5 / 30, 20 / 30))
    rates = [schedule.rate_factor(step) for step in range(30)]
    assert rates == pytest.approx([1] * 5 + [0.1] * 15 + [0.01] * 10)


def test_cosine_falls_from_one_to_zero():
    schedule = Schedule(steps=100, decay="cosine")
    assert [schedule.rate_factor(step) for step in (0, 25, 50, 75, 100)] == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0], abs=1e-12
    )
    assert schedule.rate_factor(150) == pytest.approx(0)


def test_warmup_rises_in_a_line_and_meets_the_decay():
    schedule = Schedule(steps=100, decay="none", warmup=0.1)
    assert [schedule.rate_factor(step) for step in range(12)] == pytest.approx([*(n / 10 for n in range(1, 11)), 1, 1])
    both = Schedule(steps=100, decay="cosine", warmup=0.1)
    plain = Schedule(steps=100, decay="cosine")
    assert both.rate_factor(4) == pytest.approx(0.5 * plain.rate_factor(4))
    assert both.rate_factor(50) == plain.rate_factor(50)


def test_no_decay_keeps_the_rate():
    assert {Schedule(steps=7, decay="none").rate_factor(step) for step in range(8)} == {1.0}


def test_zero_steps_do_not_divide_by_zero():
    for decay in ("cosine", "steps", "none"):
        assert math.isfinite(Schedule(steps=0, decay=decay, warmup=0.1).rate_factor(0))


def test_inverse_decay_is_that_of_gradient_reversal():
    schedule = Schedule(steps=30_000, decay="inverse")
    assert [schedule.rate_factor(step) for step in (0, 10_000, 30_000)] == pytest.approx([1, 2**-0.75, 4**-0.75])


def test_sgd_has_nesterovs_momentum():
    """Against the update of Sutskever et al. (2013), as PyTorch documents it, written out."""
    schedule = Schedule(steps=10, learning_rate=0.01, decay="none", weight_decay=0.1, optimiser="sgd")
    moved = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    sgd, _ = optimiser([ParameterGroup((moved,), rate=0.5)], schedule)
    expected, velocity = moved.detach().clone(), torch.zeros(2).double()
    for _ in range(4):
        sgd.zero_grad()
        (moved**3).sum().backward()
        gradient = 3 * expected**2 + 0.1 * expected
        velocity = 0.9 * velocity + gradient
        expected = expected - 0.005 * (gradient + 0.9 * velocity)
        sgd.step()
    assert torch.allclose(moved, expected)


def test_steps_match_adamw():
    """Against the update of Loshchilov & Hutter (2019), Algorithm 2, written out."""
    schedule = Schedule(steps=10, learning_rate=0.1, decay="cosine", weight_decay=0.2)
    moved, frozen = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64)), nn.Parameter(torch.ones(1))
    frozen.requires_grad_(False)
    adam, rate = optimiser([ParameterGroup((moved, frozen))], schedule)
    assert [len(group["params"]) for group in adam.param_groups] == [1]
    expected, m, v = moved.detach().clone(), torch.zeros(2).double(), torch.zeros(2).double()
    for step in range(5):
        adam.zero_grad()
        (moved**3).sum().backward()
        gradient = 3 * expected**2
        lr = 0.1 * 0.5 * (1 + math.cos(math.pi * step / 10))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
        expected = expected - lr * 0.2 * expected - lr * m_hat / (v_hat.sqrt() + 1e-8)
        adam.step()
        rate.step()
        assert torch.allclose(moved, expected, atol=1e-12)


def test_planned_steps_are_those_of_all_schedules():
    config = find_preset("adapt/hand", "small", "geometric-reconstruction").config_of("geometric-reconstruction")
    assert isinstance(config, GeometricReconstructionConfig)
    assert config.reconstruction is not None
    parts = (config.warm_start, config.reconstruction.schedule, config.schedule)
    assert planned_steps(config) == sum(part.steps for part in parts) == 800
    assert planned_steps(SourceOnlyConfig()) == 0
