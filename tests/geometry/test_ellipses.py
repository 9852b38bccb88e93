"""Moments against samples, roots and axes against scipy and an SVD, gradients against finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch.autograd import gradcheck

from posebridge.geometry.ellipses import ellipse_map, segment_moments, square_root

pytestmark = pytest.mark.usefixtures("one_thread")


def ellipses(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Moments, and the unit vector of the larger axis."""
    generator = np.random.default_rng(seed)
    angle, minor, ratio = generator.uniform((-math.pi, 0.1, 1.1), (math.pi, 3, 9), (count, 3)).T
    major = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    normal = np.stack([-np.sin(angle), np.cos(angle)], axis=-1)
    outer = ratio[:, None, None] * major[:, :, None] * major[:, None] + normal[:, :, None] * normal[:, None]
    return torch.from_numpy(minor[:, None, None] * outer), torch.from_numpy(major)


def turned_and_stretched(angle: float, along: float, across: float) -> Tensor:
    """Moments of an ellipse with these variances, at this angle from u towards v."""
    R = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    return R @ torch.diag(torch.tensor([along, across], dtype=torch.float64)) @ R.T


def test_moments_of_a_segment_against_samples():
    """Points spread evenly along a segment, with Gaussian noise."""
    generator = np.random.default_rng(0)
    for extent, width in (((3.0, -4.0), 0.7), ((0.0, 0.0), 1.3), ((0.2, 9.0), 2.0)):
        along = (np.linspace(-0.5, 0.5, 200_001))[:, None] * np.array(extent)
        points = along + width * generator.standard_normal(along.shape)
        found = segment_moments(torch.tensor(extent, dtype=torch.float64), width)
        np.testing.assert_allclose(found.numpy(), points.T @ points / len(points), atol=0.03)


def test_the_root_is_scipys():
    moments, _ = ellipses(50)
    round_ones = torch.eye(2).double() * torch.tensor([1e-3, 1.0, 400.0]).double()[:, None, None]
    for matrix in torch.cat([moments, round_ones]):
        np.testing.assert_allclose(square_root(matrix).numpy(), sqrtm(matrix.numpy()), rtol=1e-9, atol=1e-12)


def oriented_axes(moments: Tensor, major: Tensor) -> Tensor:
    """U sqrt(S) of the SVD (Eq. 7), with the first axis along ``major`` and a positive determinant."""
    U, S, _ = torch.linalg.svd(moments)
    axes = U * S.sqrt()[:, None]
    first = (axes[:, :, 0] * major).sum(1).sign()
    signs = torch.stack([first, torch.linalg.det(axes).sign() * first], dim=-1)
    return axes * signs[:, None]


def test_a_map_of_ellipses_takes_axes_onto_axes():
    """Exact up to the guard against bones of no length, for directions of 30 px."""
    (onto, d_onto), (of, d_of) = ellipses(200, 1), ellipses(200, 2)
    A = ellipse_map((onto, 30 * d_onto), (of, 30 * d_of))
    expected = oriented_axes(onto, d_onto) @ torch.linalg.inv(oriented_axes(of, d_of))
    torch.testing.assert_close(A, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(A @ of @ A.mT, onto)
    torch.testing.assert_close(ellipse_map((of, d_of), (of, d_of)), torch.eye(2).double().expand_as(of))
    there_and_back = ellipse_map((onto, d_onto), (of, d_of)) @ ellipse_map((of, d_of), (onto, d_onto))
    torch.testing.assert_close(there_and_back, torch.eye(2).double().expand_as(of), atol=2e-2, rtol=0)


def test_maps_rotate_with_the_direction():
    """Moments are the same after half a turn, the direction is not; the map changes continuously."""
    still = turned_and_stretched(0.4, 9.0, 2.0)
    direction = 10 * torch.tensor([math.cos(0.4), math.sin(0.4)]).double()
    before = torch.eye(2).double()
    for degrees in range(-180, 181):
        angle = math.radians(degrees)
        R = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
        A = ellipse_map((turned_and_stretched(0.4 + angle, 9.0, 2.0), R @ direction), (still, direction))
        torch.testing.assert_close(A, R, atol=2e-4, rtol=0)
        if degrees > -180:
            assert (A - before).norm() < 1.5 * math.sqrt(2) * math.radians(1)
        before = A


def test_a_stretched_ellipse_is_stretched_along_itself():
    short, long = turned_and_stretched(0.7, 4.0, 1.0), turned_and_stretched(0.7, 9.0, 1.0)
    direction = 5 * torch.tensor([math.cos(0.7), math.sin(0.7)]).double()
    A = ellipse_map((long, direction), (short, direction))
    torch.testing.assert_close(A, turned_and_stretched(0.7, 1.5, 1.0), atol=1e-9, rtol=0)


def test_directions_without_length_give_no_rotation():
    moments, direction = ellipses(3)
    other = turned_and_stretched(1.0, 9.0, 2.0).expand(3, 2, 2)
    A = ellipse_map((other, torch.zeros(3, 2).double()), (moments, direction))
    torch.testing.assert_close(A, square_root(other) @ torch.linalg.inv(square_root(moments)))


def test_bones_seen_end_on_give_no_rotation():
    """The direction of a bone of a hundredth of a pixel is noise; its slope, 1 / length, would outweigh all others."""
    moments = turned_and_stretched(0.4, 9.0, 2.0)
    direction = 5 * torch.tensor([math.cos(0.4), math.sin(0.4)]).double()

    def steepest(length: float) -> float:
        # At right angles; nothing is steep either where the two are along each other, and half a turn is a pole.
        short = length * torch.tensor([-math.sin(0.4), math.cos(0.4)]).double()
        slope = torch.autograd.functional.jacobian(lambda d: ellipse_map((moments, d), (moments, direction)), short)
        return float(slope.abs().max())

    assert max(steepest(length) for length in (0.0, 1e-3, 1e-2, 0.03)) < 5 / 0.25 * 2.2
    assert steepest(2.0) == pytest.approx(1 / 2.0, rel=1.3)


@pytest.mark.parametrize("case", ["unlike axes", "equal axes", "half a turn", "no length", "neither has a length"])
def test_gradients_by_finite_differences(case):
    moments, direction = ellipses(2, 3)
    onto, of = moments.clone(), moments.flip(0).clone()
    d_onto, d_of = 3 * direction, 2 * direction.flip(0)
    if case == "equal axes":
        onto = of = 4 * torch.eye(2).double().expand(2, 2, 2)
    if case == "half a turn":
        d_onto = -2 * d_of
    if case != "no length" and case.endswith("length"):
        d_onto, d_of = torch.zeros_like(d_onto), torch.zeros_like(d_of)
    if case == "no length":
        d_of = torch.zeros_like(d_of)
    inputs = tuple(value.clone().requires_grad_() for value in (onto, d_onto, of, d_of))

    def mapped(onto: Tensor, d_onto: Tensor, of: Tensor, d_of: Tensor) -> Tensor:
        symmetric = [(m + m.mT) / 2 for m in (onto, of)]
        return ellipse_map((symmetric[0], d_onto), (symmetric[1], d_of))

    assert gradcheck(mapped, inputs, eps=1e-7, rtol=1e-4, atol=1e-5)
    assert gradcheck(lambda m: square_root((m + m.mT) / 2), (inputs[0],))


def test_gradients_of_moments_by_finite_differences():
    extent = torch.tensor([[3.0, -4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda value: segment_moments(value, 0.7), (extent,))
