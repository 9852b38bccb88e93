import math

import pytest
import torch

from posebridge.cameras.cube import (
    cube_crop_map,
    foreground,
    normalise_depth,
)
from posebridge.cameras.pinhole import Camera, apply_affine

CENTRES_M = torch.tensor([[0.05, -0.1, 0.7], [-0.2, 0.03, 1.1]], dtype=torch.float64)
CUBE_M = 0.25


def intrinsics(fx: float, fy: float) -> torch.Tensor:
    return torch.tensor([[fx, 0, 320], [0, fy, 240], [0, 0, 1]], dtype=torch.float64).repeat(2, 1, 1)


@pytest.mark.parametrize(("fx", "fy"), [(588.03, 587.07), (588.03, -587.07), (-500.0, 250.0), (475.0, 475.0)])
def test_cross_section_fills_the_crop(fx, fy):
    K = intrinsics(fx, fy)
    camera = Camera(K).warped(cube_crop_map(CENTRES_M, K, CUBE_M, 128))
    half = CUBE_M / 2
    corners = CENTRES_M[:, None] + torch.tensor([[-half, -half, 0], [half, half, 0], [0, 0, 0]], dtype=torch.float64)
    low, high = -0.5, 127.5
    u, v = ((low, high) if f > 0 else (high, low) for f in (fx, fy))
    expected = torch.tensor([[u[0], v[0]], [u[1], v[1]], [63.5, 63.5]], dtype=torch.float64)
    torch.testing.assert_close(camera.project(corners), expected.expand(2, 3, 2))


def test_cube_maps_never_mirror_and_have_square_pixels():
    T = cube_crop_map(CENTRES_M, intrinsics(588.03, -400.0), CUBE_M, 128)
    assert (torch.linalg.det(T) > 0).all()
    K = (T @ intrinsics(588.03, -400.0))[0]
    torch.testing.assert_close(K[0, 0], -K[1, 1])
    assert K[0, 0].item() == pytest.approx(128 * 0.7 / CUBE_M)


def test_size_does_not_depend_on_distance():
    K = intrinsics(500.0, 500.0)
    camera = Camera(K).warped(cube_crop_map(CENTRES_M, K, CUBE_M, 96))
    ends = CENTRES_M[:, None] + torch.tensor([[0, 0, 0], [0.1, 0, 0]], dtype=torch.float64)
    lengths = (camera.project(ends)[:, 1] - camera.project(ends)[:, 0])[:, 0]
    torch.testing.assert_close(lengths, torch.full((2,), 96 * 0.1 / CUBE_M, dtype=torch.float64))


def test_a_rotated_camera_keeps_the_whole_cross_section():
    turn = math.pi / 5
    R = torch.tensor(
        [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]], dtype=torch.float64
    )
    K = R @ intrinsics(500.0, 500.0)
    half = CUBE_M / 2
    offsets = torch.tensor([[x, y, 0] for x in (-half, half) for y in (-half, half)], dtype=torch.float64)
    uv = apply_affine(cube_crop_map(CENTRES_M, K, CUBE_M, 100), Camera(K).project(CENTRES_M[:, None] + offsets))
    torch.testing.assert_close(uv.amin(dim=1), torch.full((2, 2), -0.5, dtype=torch.float64))
    torch.testing.assert_close(uv.amax(dim=1), torch.full((2, 2), 99.5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("centre", "cube", "size", "message"),
    [
        ([0, 0, 0.0], 0.2, 64, "at or behind"),
        ([0, 0, -0.5], 0.2, 64, "at or behind"),
        ([0, math.nan, 0.5], 0.2, 64, "not finite"),
        ([0, 0, 0.5], 0.0, 64, "above zero"),
        ([0, 0, 0.5], 0.2, 0, "above zero"),
    ],
)
def test_invalid_cubes_are_refused(centre, cube, size, message):
    with pytest.raises(ValueError, match=message):
        cube_crop_map(torch.tensor([centre]), intrinsics(500.0, 500.0)[:1].float(), cube, size)


def test_depth_outside_the_cube():
    depth_m = torch.tensor([[[0.0, 0.7, 0.7 - 0.125, 0.7 + 0.125, 0.3, 2.0, 0.7625]]])
    normalised = normalise_depth(depth_m, torch.tensor([[0.0, 0.0, 0.7]]), CUBE_M)
    torch.testing.assert_close(normalised, torch.tensor([[[1.0, 0.0, -1.0, 1.0, -1.0, 1.0, 0.5]]]), atol=1e-5, rtol=0)
    inside = foreground(depth_m, torch.tensor([[0.0, 0.0, 0.7]]), CUBE_M)
    assert inside.tolist() == [[[False, True, False, False, False, False, True]]]
