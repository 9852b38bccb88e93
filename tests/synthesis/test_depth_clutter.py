"""Ellipsoids in closed form, against a mesh of the same shape and analytic geometry."""

import numpy as np
import pytest
import torch

from meshes import icosphere, pinhole, skewed_cameras
from posebridge.cameras.multiview import CameraRig, ring
from posebridge.rendering.rasterise_warp import rasterise
from posebridge.synthesis.depth_clutter import (
    ClutterDistribution,
    Ellipsoids,
    sample_background_objects,
    sample_occluders,
)

SIZE = 64
COUNT = 200


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rig(count: int = 1) -> CameraRig:
    """Four cameras in a ring; one is skewed, two are mirrored."""
    return CameraRig(skewed_cameras(SIZE, SIZE).float().expand(count, 4, 3, 3), ring(4, 0.8).expand(count, 4, 4, 4))


def _hands(count: int = COUNT) -> torch.Tensor:
    return 0.05 * torch.randn(count, 300, 3, generator=_generator(5))


def _height(things: Ellipsoids, points_m: torch.Tensor) -> torch.Tensor:
    """Below one inside the ellipsoid of the same index, above one outside (E, N)."""
    own = (points_m - things.T_world_ellipsoid[:, None, :3, 3]) @ things.T_world_ellipsoid[:, :3, :3]
    return (own / things.radii_m[:, None]).norm(dim=-1)


def test_depth_of_an_ellipsoid_matches_its_mesh():
    things = sample_occluders(
        ClutterDistribution(occluder_share=1.0, occluder_gap_m=(0.0, 0.0)), _hands(6), _rig(6), _generator()
    )
    things = Ellipsoids(things.world, things.T_world_ellipsoid, 0.02 + 3 * things.radii_m)
    rig = _rig(6)
    depth_m = things.depth_m(rig, SIZE, SIZE)
    ball, faces = icosphere(4)
    world = (ball.float() * things.radii_m[:, None]) @ things.T_world_ellipsoid[:, :3, :3].transpose(1, 2)
    seen = rig.to_views(world + things.T_world_ellipsoid[:, None, :3, 3]).flatten(0, 1)
    raster = rasterise(seen, faces, rig.cameras().K, SIZE, SIZE)
    mask = depth_m.flatten(0, 1).isfinite()
    assert mask.flatten(1).sum(1).min() > 50
    assert not (raster.mask & ~mask).any()  # the mesh lies inside
    assert (mask & ~raster.mask).sum() < 0.03 * mask.sum()
    error = (depth_m.flatten(0, 1) - raster.depth_m)[raster.mask].abs()
    assert error.quantile(0.95) < 3e-4
    assert error.median() < 1e-4


def test_depth_of_a_wall_of_800_m_is_exact():
    """Its near side is nearly a plane, also in single precision."""
    T = torch.eye(4)[None].clone()
    T[:, 2, 3] = 0.5
    wall = Ellipsoids(torch.tensor([0]), T, torch.tensor([[400.0, 400.0, 0.3]]))
    rig = CameraRig(pinhole(60.0, SIZE, SIZE).float()[None], ring(1, 0.6)[None])
    np.testing.assert_allclose(wall.depth_m(rig, SIZE, SIZE).numpy(), 0.6 + 0.2, atol=2e-5)


def test_ellipsoids_behind_or_around_a_camera_are_invisible():
    T = torch.eye(4).repeat(2, 1, 1)
    T[0, 2, 3] = -2.0
    T[1, 2, 3] = -0.8
    rig = CameraRig(pinhole(60.0, SIZE, SIZE).float().expand(2, 1, 3, 3), ring(1, 0.8).expand(2, 1, 4, 4))
    assert Ellipsoids(torch.arange(2), T, torch.full((2, 3), 0.3)).depth_m(rig, SIZE, SIZE).isinf().all()


def test_the_nearest_surface_is_visible():
    T = torch.eye(4)[None]
    thing = Ellipsoids(torch.tensor([1]), T, torch.full((1, 3), 0.1))
    rig = _rig(3)
    before = torch.full((3, 4, SIZE, SIZE), torch.inf)
    before[:, :, :20] = 0.1
    after = thing.composite(before, rig)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert (after[1, :, :20] == 0.1).all()
    nearest = thing.depth_m(CameraRig(rig.K[1:2], rig.T_world_cam[1:2]), SIZE, SIZE)[0]
    assert torch.equal(after[1, :, 20:], nearest[:, 20:])


def test_background_objects_stand_behind_the_hand():
    distribution = ClutterDistribution(background_share=1.0, background_tilt_deg=20.0, background_gap_m=(0.01, 0.05))
    hands = _hands()
    things = sample_background_objects(distribution, hands, _generator())
    assert things.world.tolist() == list(range(COUNT))
    height = _height(things, hands)
    assert height.min() > 1
    # The object has the given gap to the plane through the hand's farthest point.
    R, centre = things.T_world_ellipsoid[:, :3, :3], things.T_world_ellipsoid[:, :3, 3]
    away = R[:, :, 2]
    gap = (centre * away).sum(1) - things.radii_m[:, 2] - (hands @ away[..., None])[..., 0].amax(1)
    assert 0.0099 < gap.min() < gap.max() < 0.0501
    assert (away[:, 2] > 0.3).float().mean() > 0.97  # view 0 looks along z
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(3).expand(COUNT, 3, 3), atol=1e-5, rtol=0)


def test_occluders_stand_between_a_joint_and_a_camera():
    distribution = ClutterDistribution(occluder_share=1.0, occluder_gap_m=(0.04, 0.06))
    joints, rig = _hands()[:, :21], _rig(COUNT)
    centre = sample_occluders(distribution, joints, rig, _generator()).T_world_ellipsoid[:, :3, 3]
    away = centre[:, None] - joints
    gap, eyes = away.norm(dim=-1), rig.T_world_cam[:, :, :3, 3]
    to_eye = torch.nn.functional.normalize(eyes[:, None] - joints[:, :, None], dim=-1)
    along = (to_eye * away[:, :, None]).sum(-1) / gap[..., None]  # cosine, of each joint and camera
    on_a_line = ((along > 0.99999) & (gap > 0.0399)[..., None] & (gap < 0.0601)[..., None]).flatten(1).any(1)
    assert on_a_line.all()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_given_share_of_sets_has_clutter(share):
    distribution = ClutterDistribution(background_share=share, occluder_share=share)
    hands, rig = _hands(1000), _rig(1000)
    for things in (
        sample_background_objects(distribution, hands, _generator()),
        sample_occluders(distribution, hands, rig, _generator()),
    ):
        assert len(things.world) / 1000 == pytest.approx(share, abs=0.05)
        assert (things.world.diff() > 0).all()
    depth_m = torch.full((1000, 4, 2, 2), torch.inf)
    assert things.composite(depth_m, rig).shape == depth_m.shape
