"""Eq. 3: joints of the 2D mask and of the 3D mask, and the terms of each."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebridge.cameras.crop import flip_map
from posebridge.cameras.pinhole import Camera
from posebridge.data.augment import inside, warp_points
from posebridge.losses.keypoints import combine
from posebridge.methods.geometric_reconstruction.integrated_labels import (
    IntegratedLabels,
    LabelIntegration,
    PseudoTargets,
)
from posebridge.representations.heatmaps import encode_gaussian, image_from_map, map_from_image
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.pseudo_labels import PseudoLabels
from training.teacher_poses import (
    MAP,
    SIDE,
    bent_backwards,
    camera,
    integrated,
    seen_of,
    true_poses,
    with_lengths,
)

pytestmark = pytest.mark.usefixtures("one_thread")
STILL = torch.eye(3)[None].repeat(6, 1, 1)
COMBINATIONS = ("2d", "3d", "separate", "union", "separate_then_union")


def some_labels(count: int = 6, skeleton: Skeleton = HAND21, seed: int = 0) -> tuple[PseudoLabels, Camera]:
    """Poses with some impossible joints; half of all joints are confident."""
    joints = true_poses(skeleton, count)
    if skeleton is HAND21:
        joints = bent_backwards(joints)
    seen = seen_of(joints, camera(count), skeleton)
    noise = 2 * torch.randn(seen.uv_px.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kept = torch.rand(seen.kept.shape, generator=torch.Generator().manual_seed(seed)) > 0.5
    return PseudoLabels(
        (seen.uv_px + noise).float(), seen.relative_depth.float(), seen.confidence.float(), kept
    ), camera(count).to("cpu")


def pseudo_targets_of(progress: float = 0.0, **changes) -> tuple[IntegratedLabels, PseudoTargets]:
    labels = integrated(**changes)
    seen, cameras = some_labels()
    return labels, labels.pseudo_targets(seen, Camera(cameras.K.float()), SIDE, progress)


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("progress", [0.0, 0.49, 0.5, 1.0])
def test_masks_of_table_b(combination, progress):
    """M_2D is from the teacher's confidence, M_3D from the correction: each alone, one for each loss, or the union."""
    _, targets = pseudo_targets_of(progress, combination=combination)
    in_image, in_anatomy = targets.predicted.kept, targets.rectified.kept
    assert (in_image & ~in_anatomy).any()
    assert (in_anatomy & ~in_image).any()
    if combination == "union" or (combination == "separate_then_union" and progress >= 0.5):
        assert torch.equal(targets.heat_mask, in_image | in_anatomy)
        assert torch.equal(targets.pose_mask, in_image | in_anatomy)
    else:
        assert torch.equal(targets.heat_mask, in_image & (combination != "3d"))
        assert torch.equal(targets.pose_mask, in_anatomy & (combination != "2d"))


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_union_starts_at_its_fraction(share):
    for progress, union in ((share - 1e-6, False), (share, True)):
        _, targets = pseudo_targets_of(progress, union_start_frac=share)
        assert torch.equal(targets.heat_mask, targets.pose_mask) == union


def maps_at(uv_px: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Heat maps (logits) at these positions, and flat depth maps, both with gradients."""
    heat, _ = encode_gaussian(map_from_image(uv_px, (SIDE, SIDE), (MAP, MAP)), MAP, MAP, 1.0, "sum")
    logits = heat.clamp_min(1e-20).log()
    return logits.requires_grad_(), depth[..., None, None].repeat(1, 1, MAP, MAP).requires_grad_()


def taught_terms(combination: str, progress: float = 0.0) -> tuple[dict[str, Tensor], Tensor, Tensor, PseudoTargets]:
    labels, targets = pseudo_targets_of(progress, combination=combination)
    places = torch.full_like(targets.predicted.uv_px, SIDE / 2)
    heat, depth = maps_at(places, targets.predicted.relative_depth + 0.3)
    terms = labels.terms((heat, depth), targets, STILL, SIDE)
    assert terms.keys() == labels.config.weights.keys()
    return terms, heat, depth, targets


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_each_term_covers_its_mask(combination, progress):
    terms, heat, depth, targets = taught_terms(combination, progress)
    masks = {"pseudo_heat": targets.heat_mask, "pseudo_pose": targets.pose_mask, "pseudo_depth": targets.pose_mask}
    if combination == "2d":
        masks |= {"pseudo_pose": torch.zeros_like(targets.pose_mask), "pseudo_depth": targets.heat_mask}
    if combination == "3d":
        masks["pseudo_heat"] = torch.zeros_like(targets.heat_mask)
    for name, mask in masks.items():
        (learner,) = (depth,) if name == "pseudo_depth" else (heat,)
        if not mask.any():
            assert terms[name] == 0
            assert not terms[name].requires_grad
            continue
        (gradient,) = torch.autograd.grad(terms[name], learner, retain_graph=True)
        labels = targets.predicted if name == "pseudo_heat" or combination == "2d" else targets.rectified
        assert torch.equal(gradient.abs().sum((2, 3)) > 0, mask & inside(labels.uv_px, SIDE, SIDE)), name


@pytest.mark.parametrize("combination", ["2d", "3d", "union"])
def test_joints_outside_the_view_have_no_terms(combination):
    """The view shows the right half of the crop: a joint to the left of it can't be seen."""
    labels, targets = pseudo_targets_of(combination=combination)
    T_view = STILL.clone()
    T_view[:, 0, 2] = -SIDE / 2
    heat, depth = maps_at(torch.full_like(targets.predicted.uv_px, 3.0), targets.predicted.relative_depth + 0.3)
    terms = labels.terms((heat, depth), targets, T_view, SIDE)
    gradients = torch.autograd.grad(sum(terms.values()), (heat, depth))
    left = (targets.predicted.uv_px[..., 0] < SIDE / 2 - 3) & (targets.rectified.uv_px[..., 0] < SIDE / 2 - 3)
    assert left.sum() > 10
    assert all(gradient[left].abs().max() == 0 for gradient in gradients)
    assert all(gradient[~left].abs().max() > 0 for gradient in gradients)


def test_terms_by_hand():
    """Smooth L1 of positions in pixels of the map, and of depths with beta 0.1, averaged over the joints of M_3D."""
    labels, targets = pseudo_targets_of(combination="separate")
    middle = torch.full_like(targets.predicted.uv_px, SIDE / 2 - 0.5)
    shift = torch.tensor([8.0, 0.0])  # 2 px of the map
    labelled = replace(
        targets,
        rectified=replace(targets.rectified, uv_px=middle),
        predicted=replace(targets.predicted, uv_px=middle + shift),
    )
    heat, depth = maps_at(middle + shift, targets.rectified.relative_depth + 0.25)
    terms = labels.terms((heat, depth), labelled, STILL, SIDE)
    assert terms["pseudo_pose"].item() == pytest.approx(2 - 0.5, rel=1e-3)
    assert terms["pseudo_depth"].item() == pytest.approx(0.25 - 0.05, rel=1e-3)
    entropy = math.log(2 * math.pi * math.e)  # of a Gaussian of 1 px
    assert terms["pseudo_heat"].item() == pytest.approx(entropy, abs=0.02)


def test_joints_are_decoded_at_the_temperature():
    """Two peaks of 3 : 1 become 9 : 1 at a temperature of 0.5."""
    penalties = {}
    for temperature in (1.0, 0.5):
        labels, targets = pseudo_targets_of(combination="3d", joint_temperature=temperature)
        share = torch.full((*targets.predicted.uv_px.shape[:2], MAP, MAP), 1e-20)
        share[..., MAP // 2, 4], share[..., MAP // 2, 12] = 0.25, 0.75
        at_right = image_from_map(torch.tensor([12.0, float(MAP // 2)]), (SIDE, SIDE), (MAP, MAP))
        rectified = replace(targets.rectified, uv_px=at_right.expand_as(targets.rectified.uv_px))
        terms = labels.terms((share.log(), share), replace(targets, rectified=rectified), STILL, SIDE)
        penalties[temperature] = terms["pseudo_pose"].item()
    assert penalties[1.0] == pytest.approx(0.25 * 8 - 0.5, rel=1e-4)
    assert penalties[0.5] == pytest.approx(0.5 * (0.1 * 8) ** 2, rel=1e-4)


def test_the_weights_are_the_papers():
    assert LabelIntegration().weights == {"pseudo_heat": 1.0, "pseudo_pose": 0.1, "pseudo_depth": 0.1}
    terms, *_ = taught_terms("separate")
    total = combine(terms, LabelIntegration().weights)
    expected = terms["pseudo_heat"] + 0.1 * terms["pseudo_pose"] + 0.1 * terms["pseudo_depth"]
    torch.testing.assert_close(total, expected)


def test_gradients_reach_heat_and_depth_maps_of_the_student():
    terms, heat, depth, _ = taught_terms("separate_then_union", 0.9)
    sum(terms.values()).backward()
    for learner in (heat, depth):
        assert learner.grad is not None
        assert learner.grad.isfinite().all()
        assert learner.grad.abs().sum() > 0


@pytest.mark.parametrize("skeleton", [HAND21, H36M17], ids=lambda skeleton: skeleton.name)
def test_a_correct_student_in_a_mirrored_view_has_no_loss(skeleton):
    """Left and right joints of a body swap; a hand has no such pairs."""
    labels = integrated(skeleton, combination="separate")
    joints = with_lengths(true_poses(skeleton, 6), skeleton, labels.limits.lengths.double())
    seen = seen_of(joints, camera(6), skeleton)
    seen = PseudoLabels(seen.uv_px.float(), seen.relative_depth.float(), seen.confidence.float(), seen.kept)
    targets = labels.pseudo_targets(seen, Camera(camera(6).K.float()), SIDE, 0.0)
    assert targets.pose_mask.all()
    T_flip = flip_map(SIDE).repeat(6, 1, 1)
    order = list(skeleton.mirror)
    in_view = warp_points(seen.uv_px, T_flip)[:, order]
    expected = SIDE - 1 - seen.uv_px[..., 0][:, order]
    torch.testing.assert_close(in_view[..., 0], expected)
    right = labels.terms(maps_at(in_view, seen.relative_depth[:, order]), targets, T_flip, SIDE)
    assert right["pseudo_pose"] < 0.01
    assert right["pseudo_depth"] < 1e-4
    assert right["pseudo_heat"].item() == pytest.approx(math.log(2 * math.pi * math.e), abs=0.05)
    if skeleton is H36M17:
        wrong = labels.terms(maps_at(warp_points(seen.uv_px, T_flip), seen.relative_depth), targets, T_flip, SIDE)
        assert wrong["pseudo_pose"] > 1
        assert wrong["pseudo_depth"] > 0.01


def test_mirrored_views_swap_sides_of_masks():
    labels = integrated(H36M17, combination="separate")
    seen, cameras = some_labels(6, H36M17)
    seen = replace(seen, uv_px=seen.uv_px.clamp(2, SIDE - 3))
    targets = labels.pseudo_targets(seen, Camera(cameras.K.float()), SIDE, 0.0)
    heat, depth = maps_at(torch.full_like(seen.uv_px, SIDE / 2), seen.relative_depth + 1)
    terms = labels.terms((heat, depth), targets, flip_map(SIDE).repeat(6, 1, 1), SIDE)
    order = list(H36M17.mirror)
    (gradient,) = torch.autograd.grad(terms["pseudo_heat"], heat, retain_graph=True)
    assert torch.equal(gradient.abs().sum((2, 3)) > 0, targets.heat_mask[:, order])
    (gradient,) = torch.autograd.grad(terms["pseudo_depth"], depth)
    assert torch.equal(gradient.abs().sum((2, 3)) > 0, targets.pose_mask[:, order])


def test_targets_have_no_gradient():
    labels = integrated()
    seen, cameras = some_labels()
    seen = replace(seen, uv_px=seen.uv_px.requires_grad_())
    targets = labels.pseudo_targets(seen, Camera(cameras.K.float()), SIDE, 0.0)
    assert not targets.rectified.uv_px.requires_grad
    assert not targets.rectified.relative_depth.requires_grad


def test_merged_labels_have_one_position_per_joint():
    """The predicted position, or the corrected one for joints of the 3D mask only."""
    _, targets = pseudo_targets_of(combination="separate")
    merged = targets.merged()
    only_anatomy = targets.pose_mask & ~targets.heat_mask
    assert torch.equal(merged.uv_px[only_anatomy], targets.rectified.uv_px[only_anatomy])
    assert torch.equal(merged.uv_px[~only_anatomy], targets.predicted.uv_px[~only_anatomy])
    assert torch.equal(merged.kept, targets.heat_mask | targets.pose_mask)
    assert torch.equal(merged.by_confidence, targets.predicted.kept)
    assert torch.equal(merged.by_anatomy, targets.rectified.kept)
