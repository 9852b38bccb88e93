"""Unions of circles against brute force, a supersampled picture, and finite differences."""

import pytest
import torch
from torch import Tensor

from posebridge.geometry.circles import covered_fraction, pixel_centres, union_distance
from posebridge.metrics.masks import mask_iou

SIDE = 64


def circles(batch: int = 4, count: int = 20, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    """Overlapping circles of 2 to 9 px, some of them partly outside."""
    generator = torch.Generator().manual_seed(0)
    centres = SIDE * (0.1 + 0.85 * torch.rand(batch, count, 2, generator=generator, dtype=dtype))
    return centres, 2 + 7 * torch.rand(batch, count, generator=generator, dtype=dtype)


def test_distance_is_that_of_the_nearest_circle():
    centres, radii = circles()
    points = pixel_centres(SIDE, SIDE)
    found = union_distance(centres, radii, points)
    every = (points[None, :, None] - centres[:, None]).norm(dim=-1) - radii[:, None]
    assert torch.allclose(found, every.amin(-1), atol=1e-5)


def test_coverage_is_that_of_a_supersampled_picture():
    """Fractions of 16 x 16 samples a pixel; the union of hundreds of edges is antialiased as one."""
    centres, radii = circles(batch=8)
    fraction = covered_fraction(union_distance(centres, radii, pixel_centres(SIDE, SIDE)), 1.0).view(-1, SIDE, SIDE)
    fine = (union_distance(centres, radii, pixel_centres(16 * SIDE, SIDE)) < 0).float()
    reference = torch.nn.functional.avg_pool2d(fine.view(-1, 1, 16 * SIDE, 16 * SIDE), 16)[:, 0]
    assert mask_iou(fraction > 0.5, reference > 0.5).min() >= 0.98
    soft_iou = torch.minimum(fraction, reference).sum((1, 2)) / torch.maximum(fraction, reference).sum((1, 2))
    assert soft_iou.min() >= 0.98
    edge = (reference > 0) & (reference < 1)
    assert ((fraction > 0) & (fraction < 1))[edge].float().mean() > 0.8


def test_gradients_are_those_of_finite_differences():
    """Of a smooth function of coverage and distance, at points that no two circles share as the nearest."""
    centres, radii = (values.requires_grad_() for values in circles(2, 5, torch.float64))
    points = pixel_centres(16, SIDE).double()

    def loss(centres: Tensor, radii: Tensor) -> Tensor:
        distance = union_distance(centres, radii, points)
        return (covered_fraction(distance, SIDE / 16) + 0.1 * distance.square()).sum(1)

    assert torch.autograd.gradcheck(loss, (centres, radii), eps=1e-6, atol=1e-4)


def test_there_is_no_gradient_far_from_the_edge():
    centres, radii = (values.requires_grad_() for values in circles(1, 1))
    distance = union_distance(centres, radii, pixel_centres(SIDE, SIDE))
    covered_fraction(distance, 1.0)[distance.abs() > 0.5].sum().backward()
    assert centres.grad is not None
    assert centres.grad.abs().max() == 0


def test_the_gradient_at_the_middle_of_a_circle_is_finite():
    centres, radii = torch.zeros(1, 1, 2, requires_grad=True), torch.ones(1, 1)
    union_distance(centres, radii, torch.zeros(1, 2)).sum().backward()
    assert centres.grad is not None
    assert centres.grad.isfinite().all()


@pytest.mark.parametrize(("side", "extent"), [(4, 4), (2, 4), (8, 4)])
def test_cells_cover_the_image(side, extent):
    points = pixel_centres(side, extent).view(side, side, 2)
    cell = extent / side
    assert torch.allclose(points[0, 0], torch.full((2,), cell / 2 - 0.5))
    assert torch.allclose(points[-1, -1], torch.full((2,), extent - 0.5 - cell / 2))
    assert torch.allclose(points[0, 1] - points[0, 0], torch.tensor([cell, 0.0]))
