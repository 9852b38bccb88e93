"""Labels turn with their image."""

from dataclasses import replace

import pytest
import torch

from methods.disentangled_vae.fans import fans
from posebridge.data.augment import GeometryConfig, draw_views
from posebridge.deployment.predictor import file_axes
from posebridge.errors import InputError
from posebridge.methods.disentangled_vae.pose_labels import in_axes, pose_labels
from posebridge.skeletons.hand import HAND21

TURNED = GeometryConfig(rotation_deg=180.0, shear_deg=0.0, flip_probability=0.5)


def views(count: int) -> torch.Tensor:
    return draw_views(TURNED, count, 16, torch.Generator().manual_seed(0))


def test_poses_are_those_of_the_warped_joints():
    """Seen from far away, joints of a view are a multiple of the turned pose."""
    batch, T = fans(12, seed=0), views(12)
    pose = pose_labels(batch, HAND21, T).pose[..., :2]
    moved = batch.uv_px @ T[:, :2, :2].transpose(1, 2)
    moved = moved - moved[:, :1]
    scale = (moved * pose).sum(dim=(1, 2)) / pose.square().sum(dim=(1, 2))
    torch.testing.assert_close(scale[:, None, None] * pose, moved, atol=1e-4, rtol=0)
    assert (scale > 0).all()


def test_reference_bone_has_unit_length():
    pose = pose_labels(fans(5, seed=0), HAND21).pose
    start, end = HAND21.reference
    torch.testing.assert_close((pose[:, start] - pose[:, end]).norm(dim=-1), torch.ones(5))


def test_axes_of_the_file_are_restored():
    """By the function that predictions go through, with mirrored and turned crops."""
    T, pose = views(12), torch.randn(12, 21, 3)
    torch.testing.assert_close(file_axes(in_axes(pose, T), T), pose, atol=1e-5, rtol=0)


def test_a_turn_in_the_image_leaves_the_canonical_pose():
    batch = fans(8, seed=0)
    upright = replace(TURNED, flip_probability=0.0)
    T = draw_views(upright, 8, 16, torch.Generator().manual_seed(1))
    plain, turned = pose_labels(batch, HAND21), pose_labels(batch, HAND21, T)
    torch.testing.assert_close(turned.canonical, plain.canonical, atol=1e-4, rtol=0)
    assert (turned.viewpoint - plain.viewpoint).abs().amax() > 0.5


def test_incomplete_samples_are_not_usable():
    batch = fans(3, seed=0)
    batch.valid[1, 7] = False
    labels = pose_labels(batch, HAND21)
    assert labels.usable.tolist() == [True, False, True]
    assert not labels.pose[1].any()
    with pytest.raises(InputError, match="this source has no joints in space"):
        pose_labels(replace(batch, joints_m=None), HAND21)
