"""Calibrated views against OpenCV and plain arithmetic."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posebridge.cameras.multiview import (
    CameraRig,
    inverse_rigid,
    look_at,
    on_sphere,
    ring,
    transform,
    transform_to_views,
)
from posebridge.cameras.pinhole import Camera

LENSES = [[0.0, 0.0, 0.0, 0.0, 0.0], [-0.21, 0.25, -0.001, -0.0014, -0.007], [0.2, 0.05, -0.002, 0.001, 0.01]]


def _rig(views: int = 3, lenses: bool = False, batch: int | None = None) -> CameraRig:
    """Cameras with intrinsics of their own (one has NYU's negative focal length), about 0.7 m from the origin."""
    generator = np.random.default_rng(3)
    count = views * (batch or 1)
    K = np.zeros((count, 3, 3))
    K[:, 0, 0], K[:, 1, 1] = generator.uniform(400, 700, (2, count))
    K[1::3, 1, 1] *= -1
    K[:, :2, 2], K[:, 2, 2] = generator.uniform(200, 300, (count, 2)), 1
    eyes = generator.normal(size=(count, 3))
    eyes *= generator.uniform(0.6, 0.8, (count, 1)) / np.linalg.norm(eyes, axis=1, keepdims=True)
    T = look_at(torch.tensor(eyes), torch.tensor(generator.normal(0, 0.05, (count, 3))), torch.tensor([0.1, -1, 0.2]))
    lens = torch.tensor(LENSES, dtype=torch.float64).repeat(count // 3 + 1, 1)[:count] if lenses else None
    shape = (views,) if batch is None else (batch, views)
    return CameraRig(
        torch.tensor(K).unflatten(0, shape), T.unflatten(0, shape), None if lens is None else lens.unflatten(0, shape)
    )


def _points(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).uniform(-0.1, 0.1, (*shape, 3)))


def _opencv_pixels(rig: CameraRig, points: torch.Tensor, view: int) -> np.ndarray:
    T = np.linalg.inv(rig.T_world_cam[view].numpy())
    lens = np.zeros(5) if rig.distortion is None else rig.distortion[view].numpy()
    return cv2.projectPoints(points.numpy(), cv2.Rodrigues(T[:3, :3])[0], T[:3, 3], rig.K[view].numpy(), lens)[0][:, 0]


@pytest.mark.parametrize("lenses", [False, True])
def test_every_view_matches_opencv_projection(lenses):
    rig, points = _rig(lenses=lenses), _points(20)
    uv = rig.project(points)
    assert uv.shape == (3, 20, 2)
    for view in range(3):
        np.testing.assert_allclose(uv[view].numpy(), _opencv_pixels(rig, points, view), atol=1e-7)
        seen = rig.camera(view).project(rig.to_views(points)[view][None])[0]
        torch.testing.assert_close(seen, uv[view])


def test_points_survive_the_way_to_the_views_and_back():
    rig, points = _rig(batch=4), _points(4, 7)
    seen = rig.to_views(points)
    assert seen.shape == (4, 3, 7, 3)
    for b in range(4):
        for view in range(3):
            T = np.linalg.inv(rig.T_world_cam[b, view].numpy())
            np.testing.assert_allclose(seen[b, view].numpy(), points[b].numpy() @ T[:3, :3].T + T[:3, 3], atol=1e-12)
    torch.testing.assert_close(rig.to_world(seen), points[:, None].expand(4, 3, 7, 3))


def test_batched_rigs_match_single_rigs():
    rigs, points = _rig(lenses=True, batch=4), _points(4, 6)
    uv = rigs.project(points)
    for b in range(4):
        one = CameraRig(rigs.K[b], rigs.T_world_cam[b], rigs.distortion[b])
        torch.testing.assert_close(one.project(points[b]), uv[b])
    assert one.project(points).shape == uv.shape  # one rig also projects many sets of points


def test_rigs_of_a_set_major_batch():
    rigs = _rig(lenses=True, batch=4)
    cameras = rigs.cameras()
    assert len(cameras) == 12
    again = CameraRig.from_sets(cameras, rigs.T_world_cam.flatten(0, 1), rigs.num_views)
    assert torch.equal(again.K, rigs.K)
    assert torch.equal(again.distortion, rigs.distortion)
    torch.testing.assert_close(rigs.camera(2).K, rigs.K[:, 2])
    torch.testing.assert_close(again.project(_points(4, 3)), rigs.project(_points(4, 3)))


def test_cameras_of_different_counts_are_refused():
    rig = _rig()
    for other in (
        {"K": rig.K[:2]},
        {"distortion": torch.zeros(2, 5)},
        {"K": rig.K[0], "T_world_cam": rig.T_world_cam[0]},
    ):
        with pytest.raises(ValueError, match="of the same cameras"):
            replace(rig, **other)


@given(eye=st.tuples(*[st.floats(-2, 2)] * 3), target=st.tuples(*[st.floats(-2, 2)] * 3))
@settings(max_examples=50, deadline=None)
def test_look_at_puts_the_target_at_the_principal_point(eye, target):
    eye, target = torch.tensor(eye, dtype=torch.float64), torch.tensor(target, dtype=torch.float64)
    up = torch.tensor([0.1, -1.0, 0.3], dtype=torch.float64)
    if torch.linalg.cross(target - eye, up).norm() < 1e-2:
        return
    T = look_at(eye, target, up)
    R = T[:3, :3].numpy()
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)
    rig = CameraRig(Camera.from_focal(500, 510, 320, 240).K.double(), T[None])
    u, v = rig.project(torch.stack([target, target + 0.01 * up]))[0].numpy()
    np.testing.assert_allclose(u, [320, 240], atol=1e-6)
    np.testing.assert_allclose(v[0], 320, atol=1e-6)
    assert v[1] < 240


def test_impossible_cameras_are_refused():
    eye, up = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([0.0, -1.0, 0.0])
    for target in (eye, eye + up, eye - 3 * up):
        with pytest.raises(ValueError, match="parallel to its up vector"):
            look_at(eye, target, up)
    with pytest.raises(ValueError, match="needs 1 or more views"):
        ring(0, 1.0)


def test_rings_of_cameras():
    quarter = ring(4, 0.7)
    np.testing.assert_allclose(
        quarter[:, :3, 3].numpy(), 0.7 * np.array([[0, 0, -1], [1, 0, 0], [0, 0, 1], [-1, 0, 0]]), atol=1e-6
    )
    torch.testing.assert_close(quarter[0, :3, :3], torch.eye(3))
    arc = ring(3, 0.7, span_deg=80.0, elevation_deg=30.0)
    axes = arc[:, :3, 2]
    torch.testing.assert_close(axes, -arc[:, :3, 3] / 0.7)  # all look at the origin
    torch.testing.assert_close(axes[:, 1], torch.full((3,), 0.5))  # downwards
    level = torch.nn.functional.normalize(axes[:, [0, 2]], dim=-1)
    angles = torch.rad2deg(torch.atan2(-level[:, 0], level[:, 1]))
    torch.testing.assert_close(angles, torch.tensor([-40.0, 0.0, 40.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(ring(1, 1.0, span_deg=80.0)[0, :3, 3], torch.tensor([0.0, 0.0, -1.0]))


def test_places_on_a_sphere():
    up = on_sphere(torch.tensor(0.0), torch.tensor(math.pi / 2), torch.tensor(2.0))
    torch.testing.assert_close(up, torch.tensor([0.0, -2.0, 0.0]), atol=1e-6, rtol=0)  # y points down


def test_rigid_motions():
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec([0.3, -1.1, 0.4]).as_matrix(), [1, 2, 3]
    np.testing.assert_allclose(inverse_rigid(torch.tensor(T)).numpy(), np.linalg.inv(T), atol=1e-12)
    points = _points(5)
    np.testing.assert_allclose(
        transform(torch.tensor(T), points).numpy(), points.numpy() @ T[:3, :3].T + T[:3, 3], atol=1e-12
    )


def test_points_of_sets_in_all_their_views():
    rig = _rig(batch=2)
    points = torch.stack([_points(5), _points(5) + 0.1])
    T_view_world = inverse_rigid(rig.T_world_cam)
    found = transform_to_views(points, T_view_world.flatten(0, 1))
    torch.testing.assert_close(found.unflatten(0, (2, 3)), rig.to_views(points))
