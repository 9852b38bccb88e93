"""Joints of poses within the anatomical limits are kept, others are rejected; sources of limits and lengths."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from geometry.source_poses import source_poses
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch
from posebridge.errors import InputError
from posebridge.geometry.joint_limits import JointLimits
from posebridge.methods.geometric_reconstruction import integrated_labels
from posebridge.methods.geometric_reconstruction.integrated_labels import IntegratedLabels, LabelIntegration
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of
from posebridge.training import registration
from posebridge.training.pseudo_labels import PseudoLabels
from training.dots import context
from training.teacher_poses import (
    MAPS,
    SIDE,
    TIP,
    bent_backwards,
    camera,
    integrated,
    seen_of,
    true_poses,
    with_lengths,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("skeleton", [HAND21, H36M17], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("distorted", [False, True], ids=["pinhole", "lens"])
def test_a_valid_pose_is_kept(skeleton, distorted):
    labels = integrated(skeleton, torch.float64)
    joints = with_lengths(true_poses(skeleton), skeleton, labels.limits.lengths)
    cameras = camera(len(joints), distorted=distorted)
    seen = seen_of(joints, cameras, skeleton)
    rectified = labels.rectify(seen, cameras, SIDE)
    assert rectified.kept.all()
    # New lengths of palm or trunk rotate the root's axes slightly, so that poses at their limits exceed them.
    correction_px = (rectified.uv_px - seen.uv_px).norm(dim=-1)
    whole = (correction_px < 1e-3).all(1)
    assert whole.double().mean() > 0.85
    torch.testing.assert_close(rectified.relative_depth[whole], seen.relative_depth[whole], atol=1e-3, rtol=0)
    assert correction_px.max() < 0.5


def test_mirrored_left_hands_are_valid():
    """A left hand is the mirror image of a right one; its mirrored crop shows a right hand."""
    labels = integrated(dtype=torch.float64)
    right = with_lengths(true_poses(HAND21), HAND21, labels.limits.lengths)
    left = right * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    seen = seen_of(left, camera(len(left), mirrored=True), HAND21)
    rectified = labels.rectify(seen, camera(len(left), mirrored=True), SIDE)
    assert rectified.kept.all()
    assert ((rectified.uv_px - seen.uv_px).norm(dim=-1) < 1e-3).all(1).double().mean() > 0.85
    # Left hands in crops that are not mirrored have fingers that bend in the wrong direction.
    plain = labels.rectify(seen_of(left, camera(len(left)), HAND21), camera(len(left)), SIDE)
    assert plain.kept.double().mean() < 0.9


@pytest.mark.parametrize(("skeleton", "least"), [(HAND21, 0.99), (H36M17, 0.98)], ids=["hand21", "h36m17"])
def test_true_poses_of_any_lengths_are_kept(skeleton, least):
    joints = true_poses(skeleton)
    rectified = integrated(skeleton, torch.float64).rectify(
        seen_of(joints, camera(len(joints)), skeleton), camera(len(joints)), SIDE
    )
    assert rectified.kept.double().mean() > least


def test_without_a_camera_most_of_a_true_pose_is_kept():
    """From five hand widths away, some joints are rejected for the error of weak perspective."""
    joints = true_poses(HAND21)
    seen = seen_of(joints, camera(len(joints)), HAND21)
    labels = integrated(dtype=torch.float64)
    rectified = labels.rectify(seen, None, SIDE)
    assert 0.7 < rectified.kept.double().mean() < 1
    moved = (rectified.uv_px - seen.uv_px).norm(dim=-1) / SIDE
    assert torch.equal(rectified.kept[:, 1:], moved[:, 1:] < labels.config.max_correction_frac)


def test_the_root_is_kept_only_with_its_children():
    """The correction never moves the root: a wrong wrist shows in the knuckles."""
    labels = integrated(dtype=torch.float64)
    joints = with_lengths(true_poses(HAND21), HAND21, labels.limits.lengths)
    cameras = camera(len(joints))
    seen = seen_of(joints, cameras, HAND21)
    moved = seen.uv_px.clone()
    moved[:, HAND21.root, 0] += 0.1 * SIDE
    rectified = labels.rectify(replace(seen, uv_px=moved), cameras, SIDE)
    children = [HAND21.index(f"{finger}_1") for finger in ("thumb", "index", "middle", "ring", "pinky")]
    assert torch.equal(rectified.kept[:, HAND21.root], rectified.kept[:, children].all(dim=1))
    assert rectified.kept[:, HAND21.root].double().mean() < 0.05


def test_only_a_fingertip_bent_backwards_is_rejected():
    labels = integrated(dtype=torch.float64)
    valid = with_lengths(true_poses(HAND21), HAND21, labels.limits.lengths)
    joints, cameras = bent_backwards(valid), camera(len(valid))
    bent = (cameras.project(joints) - cameras.project(valid))[:, TIP].norm(dim=-1)
    seen = seen_of(joints, cameras, HAND21)
    rectified = labels.rectify(seen, cameras, SIDE)
    others = torch.arange(len(HAND21)) != TIP
    assert rectified.kept[:, others].all()
    # Where it is visible: a tip that bends along the line of sight hardly moves in the image.
    plain = bent > 4.0
    assert plain.sum() > 10
    assert not rectified.kept[plain, TIP].any()
    # With the union of masks, Eq. 3 uses the corrected position of such a joint, which is nearer to the original.
    before = cameras.project(valid)[plain, TIP]
    nearer = (rectified.uv_px[plain, TIP] - before).norm(dim=-1) < (seen.uv_px[plain, TIP] - before).norm(dim=-1)
    assert nearer.double().mean() > 0.95


def test_the_threshold_is_a_fraction_of_the_image():
    """A joint is kept if its correction in pixels is below the threshold, for any size of the image."""
    joints = bent_backwards(true_poses(HAND21))
    seen, cameras = seen_of(joints, camera(len(joints)), HAND21), camera(len(joints))
    kept = [
        integrated(dtype=torch.float64, max_correction_frac=share)
        .rectify(seen, cameras, SIDE)
        .kept.double()
        .mean()
        .item()
        for share in (0.0, 0.01, 0.05, 1.0)
    ]
    assert kept[0] < kept[1] < kept[2] < kept[3] == 1
    doubled = replace(seen, uv_px=2 * (seen.uv_px + 0.5) - 0.5)
    twice = Camera(cameras.K.clone())
    twice.K[:, :2] *= 2
    twice.K[:, :2, 2] += 0.5
    plain, large = (
        integrated(dtype=torch.float64).rectify(*given) for given in ((seen, cameras, SIDE), (doubled, twice, 2 * SIDE))
    )
    assert torch.equal(plain.kept, large.kept)


def test_poses_that_cannot_be_lifted_are_rejected():
    joints = true_poses(HAND21)[:4]
    seen, cameras = seen_of(joints, camera(4), HAND21), camera(4)
    end_on = seen.uv_px.clone()
    n, m = HAND21.reference
    end_on[0, m] = end_on[0, n]
    end_on[1] = math.nan
    end_on[2] = 17.0
    for given in (cameras, None):
        rectified = integrated(dtype=torch.float64).rectify(replace(seen, uv_px=end_on), given, SIDE)
        assert not rectified.kept[:3].any()
        torch.testing.assert_close(rectified.uv_px[:3], end_on[:3], equal_nan=True)
        assert rectified.kept[3].any()
        assert rectified.relative_depth.isfinite().all()


def of_a_subject(labels: IntegratedLabels) -> tuple[Tensor, PseudoLabels, Camera]:
    """Lengths and poses of a subject whose bones are up to a sixth longer or shorter than the source's."""
    own = labels.limits.lengths * torch.linspace(0.85, 1.15, 20, dtype=torch.float64)
    own[HAND21.bones.index(HAND21.reference)] = 1.0
    joints = with_lengths(true_poses(HAND21, 12), HAND21, own)
    return own, seen_of(joints, camera(len(joints)), HAND21), camera(len(joints))


def test_lengths_are_estimated_from_predictions(monkeypatch):
    monkeypatch.setattr(integrated_labels, "_ESTIMATE_DECAY", 0.9)  # so that fewer steps suffice
    labels = integrated(dtype=torch.float64, lengths="estimated")
    own, seen, cameras = of_a_subject(labels)
    before = labels.rectify(seen, cameras, SIDE).kept
    for _ in range(40):
        labels.rectify(seen, cameras, SIDE)
    torch.testing.assert_close(labels.log_lengths.exp(), own, rtol=0.01, atol=0)
    assert labels.rectify(seen, cameras, SIDE).kept.double().mean() > before.double().mean()
    settled = labels.log_lengths.clone()
    labels.eval().rectify(replace(seen, uv_px=2 * seen.uv_px), cameras, SIDE)
    assert torch.equal(labels.log_lengths, settled)
    labels.train().rectify(replace(seen, uv_px=math.nan * seen.uv_px), cameras, SIDE)  # which carries no information
    assert torch.equal(labels.log_lengths, settled)


def test_given_lengths_are_used():
    own, seen, cameras = of_a_subject(integrated(dtype=torch.float64))
    labels = integrated(dtype=torch.float64, lengths=tuple(own.tolist()))
    rectified = labels.rectify(seen, cameras, SIDE)
    assert rectified.kept.all()
    assert ((rectified.uv_px - seen.uv_px).norm(dim=-1) < 1e-3).all(1).double().mean() > 0.7
    with pytest.raises(InputError, match="20 positive numbers"):
        integrated(lengths=(1.0, 2.0))
    with pytest.raises(InputError, match="20 positive numbers"):
        integrated(lengths=(1.0,) * 19 + (0.0,))


def test_lengths_are_trained_towards_predictions():
    """Predictions of a correct student train the lengths towards the subject's."""
    labels = integrated(dtype=torch.float64, lengths="learnt", max_correction_frac=1.0)
    own, seen, cameras = of_a_subject(labels)
    adam = torch.optim.Adam([p for p in labels.parameters() if p.requires_grad], lr=0.01)
    errors = []
    for _ in range(40):
        targets = labels.pseudo_targets(seen, cameras, SIDE, 0.0)
        loss = (targets.rectified.uv_px - seen.uv_px).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        errors.append((labels.log_lengths.exp() / own - 1).abs().mean().item())
    assert errors[-1] < 0.5 * errors[0]
    assert not any(p.requires_grad for p in integrated().parameters())


class Poses:
    """A source of poses without images, the same in every batch; some joints of the second have no label."""

    def __init__(self, joints: Tensor | None):
        self.joints = joints

    def batches(self, size: int) -> "Poses":
        return self

    def batch(self, number: int) -> LabelledBatch:
        assert 0 <= number < 8
        valid = torch.ones(4, 21, dtype=torch.bool)
        valid[1, 3] = False
        return LabelledBatch(None, ("a", "b", "c", "d"), joints_m=self.joints, valid=valid)


def test_anatomy_limits_come_from_complete_source_poses(monkeypatch):
    joints = source_poses(HAND21.name)[:4]
    made = context(skeleton=HAND21, source=Poses(joints))
    found = registration.source_poses(made)
    assert torch.equal(found, joints[[0, 2, 3]].repeat(8, 1, 1))
    of_context = IntegratedLabels.from_context(LabelIntegration(), MAPS, made)
    expected = JointLimits.from_poses(found, kinematics_of(HAND21), HAND21.reference)
    assert torch.equal(of_context.limits.lengths, expected.lengths)
    assert of_context.skeleton is HAND21
    with pytest.raises(ValueError, match="joints in space"):
        registration.source_poses(context(skeleton=HAND21, source=Poses(None)))
