from dataclasses import replace
from functools import lru_cache

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geometry.degenerate_hands import degenerate_hands
from geometry.gradients import assert_gradients_match
from geometry.source_poses import SKELETONS, mirrored, source_poses
from posebridge.errors import InputError
from posebridge.geometry.biomechanics import joint_angles, pose_from_angles
from posebridge.geometry.joint_limits import CorrectionConfig, JointLimits, correct_poses, estimate_bone_lengths
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of

NAMES = ("hand21", "h36m17", "smpl24")


@lru_cache
def limits_of(name: str) -> JointLimits:
    return JointLimits.from_poses(source_poses(name), kinematics_of(SKELETONS[name]), SKELETONS[name].reference)


def noisy(joints: Tensor, seed: int = 0, share: float = 0.05) -> tuple[Tensor, Tensor]:
    """Poses with little noise on all joints and strong noise on some, and the mask of the latter."""
    generator = torch.Generator().manual_seed(seed)
    size = (joints.amax(1) - joints.amin(1)).norm(dim=-1)[:, None, None]
    wrong = torch.rand(joints.shape[:2], generator=generator) < share
    wrong[:, 0] = False
    noise = 0.005 + 0.15 * wrong.to(joints)
    return joints + size * noise[..., None] * torch.randn(joints.shape, generator=generator).to(joints), wrong


def with_usual_lengths(joints: Tensor, limits: JointLimits, scale: Tensor) -> Tensor:
    """The same angles, and bones of the limits' lengths times a scale each, until the angles are the same in the axes
    of the pose that this makes."""
    for _ in range(15):
        pose = limits.angles(joints)
        pose = replace(pose, lengths=scale[:, None] * limits.lengths, angles_rad=limits.clamp(pose.angles_rad))
        joints = pose_from_angles(pose, limits.kinematics, limits.neutral, joints[:, limits.kinematics.root])
    return joints


@pytest.mark.parametrize("name", NAMES)
def test_limits_contain_nearly_all_poses(name):
    limits = limits_of(name)
    assert limits.inside(limits.angles(source_poses(name)).angles_rad).all()
    others = limits.inside(limits.angles(source_poses(name, "street")).angles_rad)
    assert others.float().mean() > 0.98
    # Poses of random points are outside.
    anywhere = limits.angles(torch.randn(200, *source_poses(name).shape[1:])).angles_rad
    assert limits.inside(anywhere).float().mean() < 0.5
    assert limits.corners.shape[1] <= 12


@pytest.mark.parametrize("name", NAMES)
def test_clamped_angles_are_valid_and_valid_angles_stay(name):
    limits = limits_of(name)
    angles = 2 * torch.randn(500, len(limits.kinematics.end_joints), 2)
    clamped = limits.clamp(angles)
    assert limits.inside(clamped).all()
    assert torch.equal(limits.clamp(clamped), clamped)
    assert torch.equal(clamped[limits.inside(angles)], angles[limits.inside(angles)])


def test_mislabelled_poses_are_left_out():
    joints = source_poses("hand21", count=2048)
    mislabelled = joints.clone()
    mislabelled[0] = mislabelled[0].flip(0)
    kinematics = kinematics_of(HAND21)
    limits, spoilt, all_of_them = (
        JointLimits.from_poses(poses, kinematics, HAND21.reference, coverage=coverage)
        for poses, coverage in ((joints, 1.0), (mislabelled, 0.9995), (mislabelled, 1.0))
    )
    assert (spoilt.corners.abs().amax((1, 2)) < limits.corners.abs().amax((1, 2)) + 0.05).all()
    assert (all_of_them.corners.abs().amax((1, 2)) > limits.corners.abs().amax((1, 2)) + 0.3).any()


def test_joints_without_a_label_are_ignored():
    joints = source_poses("hand21").clone()
    joints[:100, HAND21.index("index_4")] = torch.nan
    limits, without = (
        JointLimits.from_poses(j, kinematics_of(HAND21), HAND21.reference) for j in (joints, joints[100:])
    )
    bone = limits.kinematics.end_joints.index(HAND21.index("index_4"))
    torch.testing.assert_close(limits.log_length_mean[bone], without.log_length_mean[bone])
    assert limits.corners.isfinite().all()
    joints[:, HAND21.index("index_4")] = torch.nan
    with pytest.raises(InputError, match="labelled poses has the bones that end in joints 8; give poses"):
        JointLimits.from_poses(joints, kinematics_of(HAND21), HAND21.reference)


def test_usual_lengths_are_means_over_the_reference_bone():
    joints, limits = source_poses("hand21"), limits_of("hand21")
    wrist, knuckle, middle = (joints[:, HAND21.index(name)] for name in ("wrist", "middle_1", "middle_2"))
    logs = ((middle - knuckle).norm(dim=-1) / (knuckle - wrist).norm(dim=-1)).log()
    bone = limits.kinematics.end_joints.index(HAND21.index("middle_2"))
    torch.testing.assert_close(limits.log_length_mean[bone], logs.mean())
    assert limits.lengths[limits.kinematics.end_joints.index(HAND21.index("middle_1"))] == pytest.approx(1)


def test_limits_are_converted_to_another_precision():
    limits, pose = limits_of("hand21"), noisy(source_poses("hand21"))[0]
    doubled = limits.to(torch.float64)
    assert doubled.neutral.dtype == doubled.corners.dtype == doubled.log_length_mean.dtype == torch.float64
    torch.testing.assert_close(correct_poses(pose.double(), limits), correct_poses(pose.double(), doubled))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_valid_poses_are_unchanged(name, seed):
    limits = limits_of(name).to(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    joints = source_poses(name)[seed % 170 :][:84].double()
    scale = torch.rand(84, generator=generator).double() + 0.5
    pose = with_usual_lengths(joints, limits, scale) @ roma.random_rotmat(dtype=torch.float64)
    angles = limits.angles(pose).angles_rad
    settled = (limits.clamp(angles) - angles).abs().amax((1, 2)) < 1e-9
    assert settled.float().mean() > 0.9
    torch.testing.assert_close(correct_poses(pose, limits)[settled], pose[settled], rtol=0, atol=1e-8)
    # Also for any lengths, if they are given or not corrected.
    valid = joints[limits.inside(limits.angles(joints).angles_rad).all(-1)]
    own = limits.angles(valid).lengths
    torch.testing.assert_close(correct_poses(valid, limits, 7 * own), valid, rtol=0, atol=1e-12)
    kept = correct_poses(valid, limits, correction=CorrectionConfig(lengths=False))
    torch.testing.assert_close(kept, valid, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_corrected_poses_have_given_lengths_and_valid_angles(name):
    limits = limits_of(name).to(torch.float64)
    pose = noisy(source_poses(name, "street").double())[0][:128]
    for lengths in (None, limits.angles(source_poses(name)[:128].double()).lengths):
        corrected = correct_poses(pose, limits, lengths, CorrectionConfig(iterations=40))
        found = limits.angles(corrected)
        ratio = found.lengths / (limits.lengths if lengths is None else lengths)
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
        torch.testing.assert_close(corrected[:, limits.kinematics.root], pose[:, limits.kinematics.root])
        outside = (limits.clamp(found.angles_rad) - found.angles_rad).abs().amax((1, 2))
        assert outside.quantile(0.95) < 1e-3
        few_rounds = limits.angles(correct_poses(pose, limits, lengths)).angles_rad
        outside = (limits.clamp(few_rounds) - few_rounds).abs().amax((1, 2))
        assert outside.quantile(0.95) < 0.06


@pytest.mark.parametrize("name", NAMES)
def test_correction_is_closer_than_clamped_angles(name):
    limits, joints = limits_of(name), source_poses(name, "street")
    pose, wrong = noisy(joints)
    before = (pose - joints).norm(dim=-1)
    after = (correct_poses(pose, limits) - joints).norm(dim=-1)
    assert after[wrong].mean() < 0.5 * before[wrong].mean()
    assert after.mean() < before.mean()
    # The alternative: clamp the angles of the wrong pose, and pose the hand by them.
    angles = limits.angles(pose)
    scale = (angles.lengths / limits.lengths).median(-1).values
    clamped = replace(angles, angles_rad=limits.clamp(angles.angles_rad), lengths=scale[:, None] * limits.lengths)
    forward = pose_from_angles(clamped, limits.kinematics, limits.neutral, pose[:, limits.kinematics.root])
    assert after.mean() < 0.9 * (forward - joints).norm(dim=-1).mean()


def test_lengths_and_angles_are_corrected_separately():
    limits = limits_of("hand21").to(torch.float64)
    pose = noisy(source_poses("hand21").double())[0]
    angles = limits.angles(correct_poses(pose, limits, correction=CorrectionConfig(lengths=False, iterations=40)))
    outside = (limits.clamp(angles.angles_rad) - angles.angles_rad).abs().amax((1, 2))
    assert outside.quantile(0.95) < 1e-3
    assert ((angles.lengths / limits.lengths).std(-1) > 1e-3).all()
    found = limits.angles(correct_poses(pose, limits, correction=CorrectionConfig(angles=False)))
    ratio = found.lengths / limits.lengths
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert (limits.inside(found.angles_rad).float().mean()) < 0.99
    both_off = correct_poses(pose, limits, correction=CorrectionConfig(lengths=False, angles=False))
    torch.testing.assert_close(both_off, pose)


def test_bone_lengths_of_a_subject_are_estimated():
    limits = limits_of("h36m17")
    subject = source_poses("h36m17", "street")[3:4]
    own = limits.angles(subject).lengths[0]
    shaken = noisy(subject.repeat(300, 1, 1), share=0.1)[0] * (torch.rand(300, 1, 1) + 0.5)
    found = estimate_bone_lengths(shaken, limits)
    ratio = found / own
    assert (ratio / ratio.median() - 1).abs().max() < 0.03
    usual = limits.lengths / own
    assert (usual / usual.median() - 1).abs().max() > 0.06


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_corrected_broken_poses_are_finite(dtype):
    limits = limits_of("hand21")
    joints = degenerate_hands(dtype).requires_grad_()
    lengths = limits.lengths.to(dtype).requires_grad_()
    for correction in (
        CorrectionConfig(iterations=1),
        CorrectionConfig(lengths=False, iterations=0),
        CorrectionConfig(angles=False),
    ):
        corrected = correct_poses(joints, limits, lengths, correction)
        assert corrected.isfinite().all()
        for gradient in torch.autograd.grad(corrected.clamp(-10, 10).sum(), (joints, lengths), allow_unused=True):
            assert gradient is None or gradient.isfinite().all()
    # A joint that is NaN gets the position of its neutral bone.
    whole = source_poses("hand21").to(dtype)
    lacking = whole.clone()
    lacking[:, HAND21.index("ring_3")] = torch.nan
    placed = correct_poses(lacking, limits)
    assert limits.inside(limits.angles(placed.float()).angles_rad).float().mean() > 0.99
    distance = (placed - whole)[:, HAND21.index("ring_3")].norm(dim=-1)
    assert distance.max() < 0.05  # metres


@pytest.mark.parametrize("name", ["hand21", "h36m17"])
def test_gradients_match_finite_differences(name):
    limits = limits_of(name).to(torch.float64)
    joints = noisy(source_poses(name)[:1].double(), share=0.2)[0]
    correction = CorrectionConfig(iterations=1)
    assert_gradients_match(
        lambda joints, lengths: correct_poses(joints, limits, lengths, correction),
        joints,
        limits.lengths[None],
        rtol=1e-4,
        atol=1e-6,
    )


def test_a_mirrored_body_is_corrected_to_the_mirror_image():
    skeleton = SKELETONS["h36m17"]
    both = torch.cat([source_poses("h36m17"), mirrored(source_poses("h36m17"), skeleton)]).double()
    limits = JointLimits.from_poses(both, kinematics_of(skeleton), skeleton.reference, edges=1000)
    pose = noisy(source_poses("h36m17", "street").double())[0]
    corrected = correct_poses(mirrored(pose, skeleton), limits)
    torch.testing.assert_close(corrected, mirrored(correct_poses(pose, limits), skeleton), rtol=0, atol=1e-6)


def test_angles_use_the_limits_neutral_directions():
    limits, joints = limits_of("hand21"), source_poses("hand21")
    expected = joint_angles(joints, limits.kinematics, limits.neutral)
    assert torch.equal(limits.angles(joints).angles_rad, expected.angles_rad)


def test_autocast_does_not_change_results():
    limits, pose = limits_of("h36m17"), noisy(source_poses("h36m17"))[0]
    expected = correct_poses(pose, limits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(correct_poses(pose, limits), expected, rtol=0, atol=0)
        again = JointLimits.from_poses(source_poses("h36m17"), limits.kinematics, SKELETONS["h36m17"].reference)
    assert torch.equal(again.corners, limits.corners)
