"""Cube coordinates against camera coordinates, and under rotation and scaling of the image."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebridge.cameras.cube import normalise_depth
from posebridge.cameras.multiview import transform
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import GeometryConfig, draw_views
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE, CUBE_M = 48, 0.25
ANYHOW = GeometryConfig(rotation_deg=180.0, shear_deg=0.0, translation=0.1, scale=(0.8, 1.25), flip_probability=0.5)


@pytest.fixture(scope="module")
def hands() -> LabelledBatch:
    return render_depth_hands(DEPTH_STUDIO, 3, SIDE, generator_for(1, 1))


def turned(batch: LabelledBatch, seed: int = 2) -> CubeViews:
    T = draw_views(ANYHOW, len(batch), SIDE, generator_for(seed, 1))
    return CubeViews.of(batch, CUBE_M).warped(T, 0.2 * torch.rand(len(batch)) - 0.1)


def joints(batch: LabelledBatch) -> Tensor:
    assert batch.joints_m is not None
    return batch.joints_m


def test_cube_space_matches_the_picture(hands):
    for views in (CubeViews.of(hands, CUBE_M), turned(hands)):
        found = views.in_cubes(joints(hands))
        # A point in the plane of the centre: x and y are fractions of half the image, z is zero.
        flat = found * torch.tensor([1.0, 1.0, 0.0])
        uv_px = views.camera.project(views.in_cameras(flat))
        torch.testing.assert_close(uv_px, (SIDE - 1) / 2 + flat[..., :2] * SIDE / 2, atol=2e-3, rtol=0)
        torch.testing.assert_close(views.in_cameras(found), joints(hands), atol=1e-6, rtol=0)


def test_negative_focal_lengths_give_upright_spaces(hands):
    """NYU's camera has its y axis upwards, and its image is not mirrored."""
    flipped = torch.diag(torch.tensor([1.0, -1.0, 1.0]))
    upwards = replace(
        hands,
        camera=Camera(hands.camera.K @ flipped),
        centre_m=hands.centre_m @ flipped,
        joints_m=joints(hands) @ flipped,
    )
    expected = CubeViews.of(hands, CUBE_M).in_cubes(joints(hands))
    torch.testing.assert_close(CubeViews.of(upwards, CUBE_M).in_cubes(joints(upwards)), expected)


def test_views_of_a_set_agree_in_the_world(hands):
    for views in (CubeViews.of(hands, CUBE_M), turned(hands)):
        found = views.in_cubes(joints(hands))
        world = transform(views.cube_to_world, found)
        torch.testing.assert_close(world, transform(hands.T_world_cam, joints(hands)), atol=1e-6, rtol=0)
        torch.testing.assert_close(transform(views.world_to_cube, world), found, atol=1e-5, rtol=0)
        candidate = torch.tensor([2, 0, 1])
        elsewhere = transform(views.to_candidates(3, candidate), found).unflatten(0, (3, 3))
        expected = found.unflatten(0, (3, 3))[torch.arange(3), candidate]
        torch.testing.assert_close(elsewhere, expected[:, None].expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_points_do_not_depend_on_the_rotation_of_the_picture(hands):
    def in_camera(views: CubeViews) -> list[Tensor]:
        seen, surface = views.points()
        points_m = views.in_cameras(seen.flatten(2).transpose(1, 2))
        return [own[there] for own, there in zip(points_m, surface.flatten(1), strict=True)]

    for found, expected in zip(in_camera(turned(hands)), in_camera(CubeViews.of(hands, CUBE_M)), strict=True):
        # Nearest sampling displaces points by up to half a pixel.
        assert torch.cdist(found, expected).amin(1).median() < 0.6 * CUBE_M / SIDE


def test_points_are_rays_times_depth(hands):
    views = CubeViews.of(hands, CUBE_M)
    seen, surface = views.points(stride=2)
    assert seen.shape == (9, 3, SIDE // 2, SIDE // 2)
    torch.testing.assert_close(seen[:, 2][surface], views.picture()[:, 0, ::2, ::2][surface], atol=1e-5, rtol=0)
    uv_px = views.camera.project(views.in_cameras(seen.flatten(2).transpose(1, 2))).unflatten(1, (SIDE // 2, -1))
    v, u = torch.meshgrid(torch.arange(0, SIDE, 2), torch.arange(0, SIDE, 2), indexing="ij")
    grid = torch.stack([u, v], -1).expand(9, -1, -1, -1).float()
    torch.testing.assert_close(uv_px[surface], grid[surface], atol=1e-3, rtol=0)


def test_images_are_depth_normalised_by_the_cube(hands):
    expected = normalise_depth(hands.depth_m, hands.centre_m, CUBE_M)
    assert torch.equal(CubeViews.of(hands, CUBE_M).picture()[:, 0], expected)


def test_enlarging_the_picture_shrinks_the_cube(hands):
    T = torch.diag(torch.tensor([1.25, 1.25, 1.0])).repeat(9, 1, 1)
    T[:, :2, 2] = (1 - 1.25) * (SIDE - 1) / 2
    views = CubeViews.of(hands, CUBE_M)
    larger = views.warped(T)
    torch.testing.assert_close(larger.half_m, views.half_m / 1.25)
    torch.testing.assert_close(larger.centre_m, views.centre_m, atol=1e-6, rtol=0)
    torch.testing.assert_close(larger.in_cubes(joints(hands)), 1.25 * views.in_cubes(joints(hands)), atol=1e-5, rtol=0)


def test_pixels_outside_the_crop_are_marked(hands):
    views = CubeViews.of(hands, CUBE_M)
    assert views.inside.all()
    right, left = torch.eye(3).repeat(9, 1, 1), torch.eye(3).repeat(9, 1, 1)
    right[:, 0, 2], left[:, 0, 2] = 10, -4
    moved = views.warped(right)
    assert not moved.inside[:, :, :10].any()
    assert moved.inside[:, :, 10:].all()
    back = moved.warped(left).take(torch.tensor([2, 0]))  # pixels outside the image stay outside
    assert not back.inside[:, :, :6].any()
    assert back.inside[:, :, 6 : SIDE - 4].all()
    assert not back.inside[:, :, SIDE - 4 :].any()


def test_a_cube_is_not_sheared(hands):
    T = torch.eye(3).repeat(9, 1, 1)
    T[:, 0, 1] = 0.2
    with pytest.raises(ValueError, match="sheared"):
        CubeViews.of(hands, CUBE_M).warped(T)


def test_crops_without_intrinsics_are_refused(hands):
    with pytest.raises(ValueError, match="intrinsics"):
        CubeViews.of(replace(hands, camera=None), CUBE_M)
