"""Offset maps: every pixel within the largest distance decodes to the joint, and no other does."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from posebridge.geometry.offset_maps import OffsetMaps, decode_offsets, encode_offsets, normalised_weights

pytestmark = pytest.mark.usefixtures("one_thread")
REACH = 0.6


def scene(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Points (2, 3, 5, 6), half of them on the surface, and four joints."""
    generator = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(2, 3, 5, 6, generator=generator, dtype=dtype) - 1
    surface = torch.rand(2, 5, 6, generator=generator) > 0.5
    return points, surface, torch.rand(2, 4, 3, generator=generator, dtype=dtype) - 0.5


def test_against_a_loop_over_pixels():
    points, surface, joints = scene()
    maps = encode_offsets(points, surface, joints, REACH)
    spoken = 0
    for b, j, v, u in np.ndindex(*maps.heat.shape):
        away = points[b, :, v, u].numpy() - joints[b, j].numpy()
        far = np.linalg.norm(away)
        if not surface[b, v, u] or far > REACH:
            assert maps.heat[b, j, v, u] == 0
            assert (maps.direction[b, j, :, v, u] == 0).all()
            continue
        spoken += 1
        assert float(maps.heat[b, j, v, u]) == pytest.approx((REACH - far) / REACH)
        np.testing.assert_allclose(maps.direction[b, j, :, v, u].numpy(), away / far)
    assert spoken > 10


def test_every_pixel_in_reach_gives_the_joint():
    """For any weights."""
    points, surface, joints = scene(1)
    maps = encode_offsets(points, surface, joints, 4.0)
    weight = torch.randn(maps.heat.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = normalised_weights(weight, surface)
    torch.testing.assert_close(weights.sum((-2, -1)), torch.ones(2, 4, dtype=torch.float64))
    assert (weights[~surface[:, None].expand_as(weights)] == 0).all()
    torch.testing.assert_close(decode_offsets(points, maps, weights, 4.0), joints)


def test_a_pixel_on_the_joint():
    points, surface, joints = scene(3)
    points[0, :, 1, 2], surface[0, 1, 2] = joints[0, 0], True
    maps = encode_offsets(points, surface, joints, REACH)
    assert maps.heat[0, 0, 1, 2] == 1
    assert (maps.direction[0, 0, :, 1, 2] == 0).all()
    alone = torch.full_like(maps.heat, -1e4)
    alone[..., 1, 2] = 1e4
    found = decode_offsets(points, maps, normalised_weights(alone, surface), REACH)
    torch.testing.assert_close(found[0, 0], joints[0, 0])


def test_an_empty_crop_has_the_origin_and_no_nan():
    points, surface, joints = scene(4)
    surface[1] = False
    weight = torch.zeros(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    maps = encode_offsets(points, surface, joints, REACH)
    weights = normalised_weights(weight, surface)
    found = decode_offsets(points, maps, weights, REACH)
    assert (found[1] == 0).all()
    found.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
    assert (weight.grad[1] == 0).all()


def test_gradients_by_finite_differences():
    points, surface, joints = scene(5)
    surface[:] |= torch.eye(5, 6, dtype=torch.bool)
    maps = encode_offsets(points, surface, joints, REACH)
    weight = torch.randn(maps.heat.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)

    def decoded(weight: Tensor, heat: Tensor, direction: Tensor) -> Tensor:
        return decode_offsets(points, OffsetMaps(heat, direction), normalised_weights(weight, surface), REACH)

    inputs = [value.clone().requires_grad_() for value in (weight, maps.heat, maps.direction)]
    assert gradcheck(decoded, inputs)
