"""Fine-tuning: pseudo-labels by construction, strong views, self-distillation, exact resumption."""

from dataclasses import replace

import pytest
import torch

from methods import stick_hands
from methods.dual_modality.masked_hands import (
    FINE_TUNING,
    PLAIN,
    STRONG_VIEWS,
    UNMOVED,
    context,
    fine_tuning,
    first_terms,
    other_images,
)
from posebridge.data.augment import warp_points
from posebridge.errors import InputError
from posebridge.methods.dual_modality.fine_tuning import FineTuningConfig
from posebridge.methods.dual_modality.pseudo_labelling import consistent_labels
from posebridge.methods.dual_modality.supervision import distance_terms, pseudo_terms
from posebridge.networks.multi_task import MultiTaskMaps
from posebridge.networks.pose_network import PoseOutput
from posebridge.representations.heatmaps import map_from_image
from posebridge.representations.pose25d import relative_depth
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.hand import HAND21
from posebridge.training.multi_task import SoftPose
from posebridge.training.pseudo_labels import HasPseudoLabels, PseudoLabels
from posebridge.training.registration import PoseRegistration, RegisteredPose
from posebridge.training.run import Run
from training.dots import ONE_CPU, crash, disturb, files_of

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = stick_hands.SIDE


class Shift:
    """A correction that moves every joint by some pixels to the right and by some depth; the last pose has no lift."""

    def __init__(self, px: float, depth: float):
        self.px, self.depth = px, depth

    def __call__(self, uv_px, depth, camera):
        lifted = torch.ones(len(uv_px), dtype=torch.bool)
        lifted[-1] = False
        return RegisteredPose(uv_px + torch.tensor([self.px, 0.0]), depth + self.depth, lifted)


def poses() -> list[PoseOutput]:
    uv_px, depth = 20 * torch.rand(3, 21, 2), torch.rand(3, 21)
    ones = torch.ones(3, 21)
    away = torch.tensor([0.0, 2.0, 0.0]).view(3, 1, 1)  # of the second sample's fusion pose
    return [PoseOutput(uv_px, ones, depth), PoseOutput(uv_px + away, ones, depth)]


def test_pseudo_labels_are_means_kept_by_their_variance():
    """Four poses at 0, 1 and 0, 1 pixels of a 64 px crop: 0.5 from their mean; of the second sample, 2 px are added."""
    rgb, fusion = poses()
    labels = consistent_labels([rgb, fusion], None, 64, Shift(1.0, 0.1), 1.5, 50.0)
    shift = torch.tensor([0.5, 0.0])
    torch.testing.assert_close(labels.uv_px[0], rgb.uv_px[0] + shift)
    torch.testing.assert_close(labels.uv_px[1], rgb.uv_px[1] + shift + 1)
    torch.testing.assert_close(labels.relative_depth, rgb.relative_depth + 0.05)
    assert labels.kept.all(1).tolist() == [True, False, False]  # the last one has no corrected pose
    assert labels.kept.any(1).tolist() == [True, False, False]
    variances = torch.tensor([0.25, 0.25 + 2, 0.25]) + 50 * 0.05**2
    torch.testing.assert_close(labels.confidence, torch.exp(-variances / 1.5)[:, None].expand(3, 21))


def test_pseudo_labels_against_a_loop_with_the_true_correction():
    register = PoseRegistration.from_context(context())
    batch = stick_hands.filmed()[:6]
    generator = torch.Generator().manual_seed(0)
    depth = relative_depth(batch.joints_m, HAND21)
    found = [
        PoseOutput(batch.uv_px + 0.3 * torch.randn(6, 21, 2, generator=generator), torch.ones(6, 21), depth)
        for _ in range(2)
    ]
    means, variances = [], []
    for i in range(6):
        candidates = []
        for pose in found:
            corrected = register(pose.uv_px, depth, batch.camera)
            candidates += [(pose.uv_px[i], depth[i]), (corrected.uv_px[i], corrected.relative_depth[i])]
        mean_uv = sum(uv for uv, _ in candidates) / 4
        mean_depth = sum(d for _, d in candidates) / 4
        squares = sum(
            ((uv - mean_uv) * 64 / SIDE).square().sum(-1) + 50 * (d - mean_depth).square() for uv, d in candidates
        )
        means.append(mean_uv)
        variances.append(squares.mean().item() / 4)
    threshold = sum(sorted(variances)[2:4]) / 2
    labels = consistent_labels(found, batch.camera, SIDE, register, threshold, 50.0)
    torch.testing.assert_close(labels.uv_px, torch.stack(means))
    assert labels.kept.all(1).tolist() == labels.kept.any(1).tolist() == [value < threshold for value in variances]
    assert labels.kept.all(1).sum() == 3


def test_labels_are_mapped_from_weak_to_strong_views():
    """With a network that finds the truth in every view, labels are the truth in the strong view."""
    stage = fine_tuning(replace(FINE_TUNING, views=replace(PLAIN, geometry=STRONG_VIEWS)))
    target = stick_hands.filmed()[:8]

    def predicted_labels(frames):  # the labels of the weak view, which ``warp_batch`` has moved with the image
        return PseudoLabels(
            frames.uv_px, relative_depth(target.joints_m, HAND21), torch.ones(8, 21), torch.ones(8, 21) > 0
        )

    stage.predicted_labels = predicted_labels
    labels, T_strong = stage.labels_in_strong_views(target, torch.Generator().manual_seed(1))
    torch.testing.assert_close(labels.uv_px, warp_points(target.uv_px, T_strong, HAND21.mirror), atol=1e-3, rtol=1e-4)
    assert not torch.allclose(labels.uv_px, target.uv_px, atol=1.0)


def maps_at(uv_px, depth, seed: int) -> MultiTaskMaps:
    heat, _ = PoseMaps(sigma=1.0).encode(map_from_image(uv_px, (SIDE, SIDE), (16, 16)), 16, 16)
    generator = torch.Generator().manual_seed(seed)
    mask, depth_map = torch.randn(2, len(uv_px), 16, 16, generator=generator)
    return MultiTaskMaps(heat.clamp_min(1e-30).log(), depth[..., None, None].expand_as(heat), mask, depth_map)


def test_pseudo_terms_count_kept_joints_in_the_view_over_all():
    generator = torch.Generator().manual_seed(0)
    uv_px, depth = 8 + 16 * torch.rand(4, 21, 2, generator=generator), torch.rand(4, 21, generator=generator)
    maps = [maps_at(uv_px + 1.0, depth, 0), maps_at(uv_px + 2.0, depth, 1)]
    kept = torch.tensor([True, False, True, False])[:, None].repeat(1, 21)
    outside = uv_px.clone()
    outside[0, 3] = -5.0
    labels = PseudoLabels(outside, depth, torch.ones(4, 21), kept)
    terms = pseudo_terms(PoseMaps(sigma=1.0), maps, labels, SIDE, 50.0)
    counted = (2 * 21 - 1) / (4 * 21)
    # One and two pixels of 32 in either direction are two and four of 64.
    assert terms["pseudo_pose"].item() == pytest.approx(counted * (2 * 2**2 + 2 * 4**2), rel=1e-2)
    none = replace(labels, kept=torch.zeros_like(kept))
    assert {value.item() for value in pseudo_terms(PoseMaps(sigma=1.0), maps, none, SIDE, 50.0).values()} == {0.0}


def test_distance_of_branches_is_that_of_eq_7_1():
    uv_px, depth = 8 + 16 * torch.rand(2, 21, 2), torch.rand(2, 21)
    first, second = maps_at(uv_px, depth, 0), maps_at(uv_px + 1, depth + 0.1, 1)
    terms = distance_terms(PoseMaps(sigma=1.0), first, second, 50.0)
    a, b = (SoftPose.of_maps(PoseMaps(sigma=1.0), m.heat, m.depth) for m in (first, second))
    expected = sum(
        ((a.uv[i, j] - b.uv[i, j]) ** 2).sum() + 50 * (a.depth[i, j] - b.depth[i, j]) ** 2
        for i in range(2)
        for j in range(21)
    )
    assert terms["distilled_pose"].item() == pytest.approx(expected.item() / 42, rel=1e-4)
    mask = (1 / (1 + (-first.mask).exp()) - 1 / (1 + (-second.mask).exp())).abs().mean()
    assert terms["distilled_mask"].item() == pytest.approx(mask.item(), rel=1e-5)
    assert terms["distilled_depth_map"].item() == pytest.approx(
        (first.depth_map - second.depth_map).abs().mean().item()
    )
    assert all(value.item() == 0 for value in distance_terms(PoseMaps(sigma=1.0), first, first, 50.0).values())


@pytest.mark.parametrize(
    ("distilled", "trained"), [("rgb", (True, False)), ("fusion", (False, True)), ("both", (True, True))]
)
def test_the_detached_side_of_self_distillation(distilled, trained):
    stage = fine_tuning(replace(FINE_TUNING, distilled=distilled))
    sides = [maps_at(8 + 16 * torch.rand(2, 21, 2), torch.rand(2, 21), seed) for seed in (0, 1)]
    for side in sides:
        side.mask.requires_grad_()
        side.depth_map.requires_grad_()
    sum(stage.distillation_terms(*sides).values()).backward()
    assert tuple(side.mask.grad is not None for side in sides) == trained
    assert tuple(side.depth_map.grad is not None for side in sides) == trained


def test_terms_have_weights_and_reach_all_branches():
    stage = fine_tuning()
    terms = first_terms(stage)
    assert terms.keys() == stage.term_weights.keys()
    (terms["pseudo_pose"] + terms["pseudo_heat"]).backward()
    for part in (stage.network.pose.encoder, stage.network.depth_encoder, stage.network.fusion_norms):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    without = fine_tuning(replace(FINE_TUNING, distillation_weight=0.0))
    assert first_terms(without).keys() == without.term_weights.keys()
    assert not any(name.startswith("distilled") for name in without.term_weights)
    strict = fine_tuning(replace(FINE_TUNING, max_variance=1e-6))
    assert first_terms(strict)["pseudo_pose"] == 0


def test_pseudo_labels_of_frames_are_those_of_unmoved_weak_views():
    stage = fine_tuning(replace(FINE_TUNING, weak_views=UNMOVED, views=PLAIN))
    stage.eval()
    assert isinstance(stage, HasPseudoLabels)
    frames = stick_hands.filmed().unlabelled()
    found = stage.pseudo_labels(frames)
    weak, _ = stage.labels_in_strong_views(frames, torch.Generator())
    torch.testing.assert_close(found.uv_px, weak.uv_px, atol=1e-3, rtol=1e-4)
    assert found.kept.shape == (len(frames), 21)


def test_resuming_is_bit_exact(tmp_path):
    """With the choice of a checkpoint, which keeps all branches of one step."""

    images = other_images(tmp_path)

    def made():
        return fine_tuning(backgrounds=images)

    Run(tmp_path / "one", ONE_CPU).train(1, made(), stick_hands.plan())
    stage = made()
    disturb(stage, {2: crash})
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "cut", ONE_CPU, checkpoint_seconds=0).train(1, stage, stick_hands.plan())
    Run(tmp_path / "cut", ONE_CPU).train(1, made(), stick_hands.plan())
    one, cut = (tmp_path / name / "stages/1-fine-tuning" for name in ("one", "cut"))
    assert files_of(one) == files_of(cut)
    assert (one / "branches.safetensors").read_bytes() == (cut / "branches.safetensors").read_bytes()


def test_the_chosen_checkpoint_has_the_branches_of_its_step(tmp_path):
    """The first candidate is chosen, so the branches are the initial ones, heads included."""
    stage = fine_tuning()
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    scores = iter([2.0, 1.0, 0.0])
    plan = replace(stick_hands.plan(), score=lambda network: next(scores))
    report = Run(tmp_path, ONE_CPU).train(1, stage, plan)
    assert report.chosen_step == 0
    assert all(torch.equal(value, before[name]) for name, value in stage.network.state_dict().items())


def test_no_variance_is_refused():
    with pytest.raises(InputError, match="max_variance=0 keeps no pseudo-label"):
        FineTuningConfig(max_variance=0)
