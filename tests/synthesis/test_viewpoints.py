"""Viewpoints: directions of palm and back, ranges, and the size of the hand in the frame."""

import numpy as np
import pytest
import torch

from posebridge.bodies.anny import anny_hand
from posebridge.bodies.hand_articulation import pose_hand
from posebridge.cameras.pinhole import Camera
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_poses import gesture_angles
from posebridge.synthesis.viewpoints import (
    ViewpointDistribution,
    frame_joints,
    sample_rotations,
    sample_translations,
)

STRAIGHT = {"turn_deg": 0.0, "tilt_deg": 0.0, "roll_deg": 0.0, "uniform_rotation_share": 0.0}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _joints(gesture: str) -> torch.Tensor:
    model = anny_hand("right")
    posed = pose_hand(model, gesture_angles((gesture,)), torch.zeros(1, len(model.rig.vertex_basis_m)))
    return posed.keypoints_m(posed.vertices_m())


def _seen(gesture: str, distribution: ViewpointDistribution) -> dict[str, np.ndarray]:
    """(u, v, depth) of every joint of one hand."""
    R, t = sample_rotations(distribution, 1, _generator()), torch.tensor([[0.0, 0.0, 0.5]])
    joints_m = _joints(gesture) @ R.transpose(1, 2) + t[:, None]
    uv = Camera.from_focal(300, 300, 100, 100).project(joints_m)
    return dict(zip(HAND21.joints, torch.cat([uv, joints_m[..., 2:]], -1)[0].numpy(), strict=True))


def test_a_palm_faces_the_camera_with_its_thumb_to_the_right():
    palm = ViewpointDistribution(front_share=1.0, **STRAIGHT)
    opened, fist = _seen("open", palm), _seen("fist", palm)
    assert opened["thumb_4"][0] > opened["index_4"][0] > opened["pinky_4"][0] + 10
    assert opened["middle_4"][1] < opened["middle_1"][1] < opened["wrist"][1] - 10
    for finger in ("index", "middle", "ring", "pinky"):
        assert fist[f"{finger}_4"][2] < fist[f"{finger}_1"][2] - 0.01  # fingers close towards the camera


def test_a_back_is_seen_with_the_thumb_to_the_left():
    back = ViewpointDistribution(front_share=0.0, **STRAIGHT)
    opened, fist = _seen("open", back), _seen("fist", back)
    assert opened["thumb_4"][0] < opened["index_4"][0] < opened["pinky_4"][0] - 10
    assert opened["middle_4"][1] < opened["wrist"][1] - 10
    assert fist["middle_4"][2] > fist["middle_1"][2] + 0.01


@pytest.mark.parametrize("anywhere", [0.0, 1.0])
def test_rotations_are_orthonormal(anywhere):
    R = sample_rotations(ViewpointDistribution(uniform_rotation_share=anywhere), 500, _generator())
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(3).expand(500, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(500))


def test_uniform_rotations_cover_all_directions():
    R = sample_rotations(ViewpointDistribution(uniform_rotation_share=1.0), 20_000, _generator())
    assert R.mean(0).abs().max() < 0.02  # the mean of a uniform rotation is zero,
    torch.testing.assert_close(R.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.02, rtol=0)


def test_deviations_and_shares_are_as_given():
    palm = ViewpointDistribution(front_share=1.0, **{**STRAIGHT, "roll_deg": 20.0})
    up = sample_rotations(palm, 5000, _generator())[:, :, 1]  # the fingers' direction in the camera
    roll = torch.rad2deg(torch.atan2(up[:, 0], -up[:, 1]))
    assert roll.std().item() == pytest.approx(20.0, rel=0.05)
    facing = sample_rotations(ViewpointDistribution(front_share=0.7, **STRAIGHT), 5000, _generator())[:, 2, 2]
    assert (facing < 0).float().mean().item() == pytest.approx(0.7, abs=0.02)


def test_distances():
    t = sample_translations(ViewpointDistribution(distance_m=(0.4, 0.7)), 2000, _generator())
    assert 0.4 <= t[:, 2].min() < 0.42 < 0.68 < t[:, 2].max() <= 0.7
    assert (t[:, :2].abs() / t[:, 2:]).max() <= 0.25


@pytest.mark.parametrize("size_px", [32, 256])
def test_joints_fill_the_given_fraction_of_the_frame(size_px):
    distribution = ViewpointDistribution(joint_extent_frac=(0.5, 0.7), offset_frac=0.03)
    R = sample_rotations(distribution, 400, _generator(1))
    t = sample_translations(distribution, 400, _generator(2))
    joints_m = _joints("relaxed") @ R.transpose(1, 2) + t[:, None]
    camera = frame_joints(distribution, joints_m, size_px, _generator(3))
    uv = camera.project(joints_m)
    low, high = uv.amin(1), uv.amax(1)
    extent = (high - low).amax(-1) / size_px
    assert 0.5 - 1e-4 < extent.min() < 0.52
    assert 0.68 < extent.max() < 0.7 + 1e-4
    shift = ((low + high) / 2 - (size_px - 1) / 2) / size_px
    assert shift.abs().max() <= 0.12 + 1e-4
    assert shift.std().item() == pytest.approx(0.03, rel=0.1)
    assert torch.equal(camera.K[:, 0, 0], camera.K[:, 1, 1])  # square pixels
