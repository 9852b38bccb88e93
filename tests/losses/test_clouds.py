"""Distances between clouds, against brute force and a search over permutations."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from posebridge.losses.clouds import chamfer_distance, earth_movers_distance


def clouds(points: int, others: int, batch: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, n, 3, generator=generator, dtype=torch.float64) for n in (points, others))


def test_chamfer_distance_by_brute_force():
    a, b = clouds(7, 11)
    expected = []
    for one, other in zip(a.tolist(), b.tolist(), strict=True):
        to_other = sum(min(torch.dist(torch.tensor(p), torch.tensor(q)).item() for q in other) for p in one)
        to_one = sum(min(torch.dist(torch.tensor(p), torch.tensor(q)).item() for p in one) for q in other)
        expected.append(to_other / 7 + to_one / 11)
    assert chamfer_distance(a, b).tolist() == pytest.approx(expected, rel=1e-5)


def test_earth_movers_distance_by_all_permutations():
    a, b = clouds(6, 6)
    expected = [
        min((one - other[list(order)]).norm(dim=1).mean().item() for order in permutations(range(6)))
        for one, other in zip(a, b, strict=True)
    ]
    assert earth_movers_distance(a, b).tolist() == pytest.approx(expected, rel=1e-9)


def test_greedy_assignments_are_not_enough():
    """The nearest point of both is the same one, so one of them has to take the other."""
    a = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]])
    b = torch.tensor([[[0.9, 0, 0], [5.0, 0, 0]]])
    assert earth_movers_distance(a, b).item() == pytest.approx((0.9 + 4.0) / 2)


@pytest.mark.parametrize("distance", [chamfer_distance, earth_movers_distance])
def test_gradients_by_finite_differences(distance):
    a, b = clouds(8, 8, batch=2)
    assert torch.autograd.gradcheck(distance, (a.requires_grad_(), b.requires_grad_()))


@pytest.mark.parametrize("distance", [chamfer_distance, earth_movers_distance])
def test_coinciding_points_have_no_distance_and_finite_gradients(distance):
    a, _ = clouds(8, 8)
    a[:, 3] = a[:, 4]
    a.requires_grad_()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    found = distance(a, a.detach()[:, order])
    assert found.abs().max() < 1e-12
    found.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_clouds_of_different_sizes_are_not_assigned():
    with pytest.raises(ValueError, match="can't be assigned one to one"):
        earth_movers_distance(*clouds(5, 6))


def test_nan_is_not_assigned():
    a, b = clouds(5, 5)
    a[1, 2, 0] = torch.nan
    with pytest.raises(ValueError, match="invalid numeric entries"):
        earth_movers_distance(a, b)
