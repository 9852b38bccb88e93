"""Eq. 6.12 to 6.14 of Yang's dissertation against loops as they are printed."""

import math

import pytest
import torch

from posebridge.geometry.circles import covered_fraction, pixel_centres, union_distance
from posebridge.losses.cross_modal import data_to_model, model_to_data

SIDE = 12
CENTRES = torch.tensor([[[3.0, 4.0], [6.5, 7.0]], [[8.0, 2.0], [9.0, 9.5]]])
RADII = torch.tensor([[2.5, 1.5], [1.0, 3.0]])


def distance() -> torch.Tensor:
    return union_distance(CENTRES, RADII, pixel_centres(SIDE, SIDE)).view(2, SIDE, SIDE)


def masks() -> torch.Tensor:
    return torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_data_to_model_is_eq_6_14_summed_over_pixels():
    mask, expected = masks(), [0.0, 0.0]
    for b in range(2):
        for v in range(SIDE):
            for u in range(SIDE):
                away = [math.dist((u, v), CENTRES[b, i].tolist()) - float(RADII[b, i]) for i in range(2)]
                inside = float(mask[b, v, u]) > 0.5
                expected[b] += max(min(away), 0) if inside else max(max(-value for value in away), 0)
    assert data_to_model(distance(), mask).tolist() == pytest.approx(expected, rel=1e-5)


def test_model_to_data_is_the_sum_of_absolute_differences():
    covered = covered_fraction(distance(), 1.0)
    expected = [sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in zip(
        covered.flatten(1).tolist(), masks().flatten(1).tolist(), strict=True
    )]  # fmt: skip
    assert model_to_data(covered, masks()).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_mask_that_the_circles_cover_exactly_costs_nothing():
    inside = (distance() < 0).float()
    assert data_to_model(distance(), inside).abs().max() == 0


def test_masks_get_no_gradient():
    mask, away = masks().requires_grad_(), distance().requires_grad_()
    (model_to_data(covered_fraction(away, 1.0), mask) + data_to_model(away, mask)).sum().backward()
    assert mask.grad is None
    assert away.grad is not None
    assert away.grad.abs().max() > 0
