"""Registered poses have the bones of the template; poses without a lift are unchanged."""

import pytest
import torch

from geometry.source_poses import source_poses
from posebridge.cameras.pinhole import Camera
from posebridge.errors import InputError
from posebridge.geometry.joint_limits import CorrectionConfig, JointLimits
from posebridge.representations.pose25d import lift, relative_depth
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.training.registration import PoseRegistration, template
from training.teacher_poses import camera, true_poses

LENGTHS_ONLY = CorrectionConfig(angles=False)


def limits() -> JointLimits:
    return JointLimits.from_poses(source_poses("hand21"), kinematics_of(HAND21), HAND21.reference).to(torch.float64)


def bones(joints: torch.Tensor) -> torch.Tensor:
    start, end = torch.tensor(HAND21.bones).T
    return (joints[:, end] - joints[:, start]).norm(dim=-1)


def noisy(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Camera]:
    joints = true_poses(HAND21)
    view = camera(len(joints))
    generator = torch.Generator().manual_seed(seed)
    uv_px = view.project(joints)
    uv_px = uv_px + torch.randn(uv_px.shape, generator=generator, dtype=torch.float64)
    return uv_px, relative_depth(joints, HAND21), view


@pytest.mark.parametrize("correction", [LENGTHS_ONLY, CorrectionConfig()])
def test_registered_hands_have_the_lengths_of_the_template(correction):
    given = tuple((1.3 * limits().lengths).tolist())
    register = PoseRegistration(HAND21, limits(), correction, given)
    uv_px, depth, view = noisy()
    pose = register(uv_px, depth, view)
    assert pose.lifted.float().mean() > 0.9
    joints, valid = lift(pose.uv_px, pose.relative_depth, view, HAND21)
    both = valid & pose.lifted
    found = bones(joints[both])
    ratio = found / torch.tensor(given, dtype=torch.float64)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)  # up to the scale of each hand


def test_registration_is_idempotent_for_lengths():
    register = PoseRegistration(HAND21, limits(), LENGTHS_ONLY)
    once = register(*noisy())
    again = register(once.uv_px, once.relative_depth, noisy()[2])
    both = once.lifted & again.lifted
    assert torch.allclose(again.uv_px[both], once.uv_px[both], atol=1e-3)


def test_poses_that_cannot_be_lifted_are_unchanged():
    uv_px, depth, view = noisy()
    uv_px[3, 5] = torch.nan
    pose = PoseRegistration(HAND21, limits())(uv_px, depth, view)
    assert not pose.lifted[3]
    assert torch.equal(pose.uv_px[3].isnan(), uv_px[3].isnan())
    assert torch.equal(pose.relative_depth[3], depth[3])


@pytest.mark.parametrize("lengths", [(1.0,) * 19, (1.0,) * 19 + (0.0,), (1.0,) * 19 + (float("inf"),)])
def test_templates_of_other_hands_are_refused(lengths):
    with pytest.raises(InputError, match="give 20 positive numbers, one for each bone of skeleton hand21"):
        template(lengths, HAND21)
