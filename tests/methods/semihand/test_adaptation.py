"""The adaptation stage: Eq. 6.4 to 6.14 against loops, who gets gradients, and the alternation of Algorithm 6.1."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.semihand.hands import (
    CONFIG,
    MAPS,
    SIDE,
    adaptation,
    first_terms,
    multi_task,
    registration,
    target,
)
from posebridge.data.augment import warp_batch
from posebridge.data.perturbations import PerturbationConfig, draw_perturbations
from posebridge.errors import InputError
from posebridge.methods.semihand.adaptation import AdaptationConfig, in_view
from posebridge.methods.semihand.label_store import LabelStore, StoredLabels
from posebridge.methods.semihand.settings import SETTINGS
from posebridge.methods.semihand.views import NO_DIVERSITY
from posebridge.networks.multi_task import MultiTaskMaps
from posebridge.presets.semihand import small_semihand
from posebridge.representations.heatmaps import map_from_image
from posebridge.representations.pose25d import lift_weak_perspective
from posebridge.skeletons.hand import HAND21
from posebridge.training.multi_task import SoftPose
from posebridge.training.run import Run
from training.dots import ONE_CPU, VIEWS, crash, files_of

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS_ONLY = replace(CONFIG, view_consistency=False, cross_modal=False)


def random_pose(seed: int, count: int = 3) -> SoftPose:
    generator = torch.Generator().manual_seed(seed)
    uv = 20 + 24 * torch.rand(count, 21, 2, generator=generator)
    return SoftPose(uv, 0.5 * torch.randn(count, 21, generator=generator))


def distance(a: SoftPose, b: SoftPose, sample: int) -> float:
    """Eq. 6.2 as a loop, a mean over joints."""
    total = 0.0
    for joint in range(21):
        du, dv = (a.uv[sample, joint] - b.uv[sample, joint]).tolist()
        total += du**2 + dv**2 + 50 * float(a.depth[sample, joint] - b.depth[sample, joint]) ** 2
    return total / 21


def maps_of(uv_px: torch.Tensor, mask: torch.Tensor, side: int = 32) -> MultiTaskMaps:
    """Sharp maps of joints in pixels of the image, and a mask."""
    heat, _ = MAPS.encode(map_from_image(uv_px, (SIDE, SIDE), (side, side)), side, side)
    return MultiTaskMaps(heat.clamp_min(1e-30).log(), torch.zeros_like(heat), torch.where(mask, 20.0, -20.0))


def test_the_indicator_gates_pseudo_labels_and_not_corrections():
    predicted, labels = random_pose(0), StoredLabels(random_pose(1), random_pose(2), torch.tensor([0.5, 1.5, 1.6]))
    predicted.uv.requires_grad_()
    terms = adaptation().pseudo_terms(predicted, labels, torch.eye(3).repeat(3, 1, 1), SIDE)
    pseudo, corrected = ([distance(predicted, pose, i) for i in range(3)] for pose in (labels.pseudo, labels.corrected))
    assert terms["pseudo"].item() == pytest.approx((pseudo[0] + pseudo[1]) / 3, rel=1e-4)
    assert terms["correction"].item() == pytest.approx(sum(corrected) / 3, rel=1e-4)
    (gated,) = torch.autograd.grad(terms["pseudo"], predicted.uv, retain_graph=True)
    (all_samples,) = torch.autograd.grad(terms["correction"], predicted.uv)
    assert (gated.abs().amax((1, 2)) > 0).tolist() == [True, True, False]
    assert (all_samples.abs().amax((1, 2)) > 0).all()


def test_labels_follow_their_view():
    """A quarter turn to the right: (u, v) of 64 px becomes (63 - v, u); depth is kept."""
    pose = random_pose(3)
    T = torch.tensor([[0.0, -1.0, SIDE - 1], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).repeat(3, 1, 1)
    turned = in_view(pose, T, SIDE)
    assert torch.allclose(turned.uv, torch.stack([63 - pose.uv[..., 1], pose.uv[..., 0]], -1), atol=1e-4)
    assert torch.equal(turned.depth, pose.depth)


def test_new_pseudo_labels_minimise_eq_6_7():
    """No random change of them lowers l(p', p) + l(r', p); corrections have the template's bones."""
    stage, before = adaptation(), random_pose(4, 10)
    batch = target().unlabelled()
    stage.eval()
    with torch.no_grad():
        first = stage.labels_of(batch, None, torch.Generator().manual_seed(0))
        later = stage.labels_of(batch, before, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)

    def cost(pose: SoftPose) -> torch.Tensor:
        return (first.pseudo.distance(pose) + before.distance(pose)).sum()

    for _ in range(20):
        uv = later.pseudo.uv + 0.1 * torch.randn(later.pseudo.uv.shape, generator=generator)
        depth = later.pseudo.depth + 0.02 * torch.randn(later.pseudo.depth.shape, generator=generator)
        assert cost(SoftPose(uv, depth)) > cost(later.pseudo)
    joints, valid = lift_weak_perspective(later.corrected.uv_px(SIDE), later.corrected.depth, HAND21)
    start, end = torch.tensor(HAND21.bones).T
    ratio = (joints[:, end] - joints[:, start]).norm(dim=-1) / registration().lengths
    assert torch.allclose(ratio[valid], ratio[valid][:, :1].expand_as(ratio[valid]), rtol=1e-3)
    assert valid.float().mean() > 0.5


def test_inconsistency_is_eq_6_8():
    """Prediction in the perturbed view against the label in it, and label against correction."""
    stage = adaptation(replace(CONFIG, perturbation=PerturbationConfig(quarter_turns=False)))
    batch = target().unlabelled()
    stage.eval()
    with torch.no_grad():
        labels = stage.labels_of(batch, None, torch.Generator().manual_seed(7))
        T = draw_perturbations(stage.config.perturbation, len(batch), SIDE, torch.Generator().manual_seed(7))
        perturbed = stage.network(warp_batch(batch, T).rgb)[-1]
        seen = SoftPose.of_maps(MAPS, perturbed.heat, perturbed.depth)
    moved = in_view(labels.pseudo, T, SIDE)
    for i in range(len(batch)):
        expected = distance(seen, moved, i) + distance(labels.pseudo, labels.corrected, i)
        assert labels.inconsistency[i].item() == pytest.approx(expected, rel=1e-3)


def test_predictions_that_follow_the_view_cost_nothing():
    """Joints and masks that turn with the image; Eq. 6.10 counts shifts in squared pixels of a 64 px map."""
    stage, uv_px = adaptation(), target().uv_px[:2]
    mask = target().hand_mask[:2]
    T = torch.tensor([[0.0, -1.0, SIDE - 1], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).repeat(2, 1, 1)
    turned_px = torch.stack([SIDE - 1 - uv_px[..., 1], uv_px[..., 0]], -1)
    plain, turned = maps_of(uv_px, mask), maps_of(turned_px, torch.rot90(mask, -1, (1, 2)))
    terms = stage.view_terms(plain, turned, T, SIDE)
    assert terms["view_pose"].item() == pytest.approx(0, abs=1e-4)
    assert terms["view_mask"].item() == pytest.approx(0, abs=1e-4)
    shifted = maps_of(turned_px + torch.tensor([0.5, 0.0]), ~torch.rot90(mask, -1, (1, 2)))
    terms = stage.view_terms(plain, shifted, T, SIDE)
    assert terms["view_pose"].item() == pytest.approx(1, rel=1e-2)
    assert terms["view_mask"].item() == pytest.approx(1, rel=1e-4)


def test_pixels_from_outside_of_the_crop_have_no_mask_to_agree_with():
    stage, mask = adaptation(), torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    T = torch.tensor([[[1.0, 0, 4], [0, 1, 0], [0, 0, 1]]])
    uv_px = target().uv_px[:1]
    moved = mask.clone()
    moved[:, :, :4] = False
    terms = stage.view_terms(maps_of(uv_px, mask), maps_of(uv_px, moved), T, SIDE)
    assert terms["view_mask"].item() == pytest.approx(0, abs=1e-4)


def test_view_consistency_moves_both_sides():
    """No gradient is stopped in Eq. 6.10."""
    stage = adaptation()
    plain, other = (maps_of(target().uv_px[:2] + shift, target().hand_mask[:2]) for shift in (0, 1))
    for maps in (plain, other):
        maps.heat.requires_grad_()
        assert maps.mask is not None
        maps.mask.requires_grad_()
    terms = stage.view_terms(plain, other, torch.eye(3).repeat(2, 1, 1), SIDE)
    (terms["view_pose"] + terms["view_mask"]).backward()
    for maps in (plain, other):
        assert maps.heat.grad is not None
        assert maps.heat.grad.abs().max() > 0
        assert maps.mask.grad is not None


def test_circles_of_true_joints_agree_with_their_mask():
    stage, batch = adaptation(), target()
    exact = stage.cross_modal_terms(maps_of(batch.uv_px, batch.hand_mask))
    moved = stage.cross_modal_terms(maps_of(batch.uv_px + 2, batch.hand_mask))
    for name, value in exact.items():
        assert value < 0.35 * moved[name]


def test_cross_modal_terms_have_the_magnitude_of_distances():
    """Hands that lie 4 px of 64 aside in either direction cost about as much as Eq. 6.2: 32."""
    stage, batch = adaptation(), target()
    terms = stage.cross_modal_terms(maps_of(batch.uv_px + 2, batch.hand_mask))
    assert 32 / 3 < sum(terms.values()).item() < 32 * 3


def test_cross_modal_terms_move_joints_and_no_mask():
    stage = adaptation(replace(CONFIG, pseudo_labels=False, view_consistency=False))
    terms = first_terms(stage)
    (terms["model_to_data"] + terms["data_to_model"]).backward()
    moved = {name for name, value in stage.network.named_parameters() if value.grad is not None and value.grad.any()}
    assert "pose.head.weight" in moved
    assert not any(name.startswith("heads.") for name in moved)
    assert all(parameter.grad is None for parameter in stage.circles.parameters())


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("vc", {"view_pose", "view_mask"}),
        ("cc", {"model_to_data", "data_to_model"}),
        ("vc+cc", {"view_pose", "view_mask", "model_to_data", "data_to_model"}),
        ("pseudo-labels", {"pseudo", "correction"}),
        ("full", {"pseudo", "correction", "view_pose", "view_mask", "model_to_data", "data_to_model"}),
        ("without-diversity", {"pseudo", "correction", "view_pose", "view_mask", "model_to_data", "data_to_model"}),
    ],
)
def test_a_row_of_table_6_1_trains_its_terms(name, added):
    config = SETTINGS[name](small_semihand(VIEWS)).adaptation
    assert config is not None
    short = replace(config, schedule=CONFIG.schedule, iterations=3, batch_size=4, composited_frac=0.0)
    stage = adaptation(short)
    terms = first_terms(stage)
    assert set(terms) == set(stage.term_weights) == {"pose", "heat", "mask"} | added
    assert all(value.isfinite() for value in terms.values())
    assert (config.diversity == NO_DIVERSITY) == (name == "without-diversity")


def test_weights_are_those_of_eq_6_1_to_6_3():
    weights = AdaptationConfig().term_weights()
    assert weights["mask"] == 100
    assert weights["pseudo"] == weights["correction"] == weights["pose"] == 1
    assert weights["view_pose"] == weights["model_to_data"] == weights["data_to_model"] == 0.1
    assert weights["view_mask"] == 10


def test_labels_are_computed_at_the_first_step_of_each_iteration(tmp_path):
    """By the network as it is then, in evaluation mode: batch statistics are those of training steps alone."""
    stage, updates = adaptation(LABELS_ONLY), []
    compute = stage.labels_of

    def recorded(batch, before, generator):
        statistics = stage.network.pose.deconvolutions[0][1].running_mean.clone()
        updates.append((stage.global_step, stage.training, before is None))
        labels = compute(batch, before, generator)
        assert torch.equal(statistics, stage.network.pose.deconvolutions[0][1].running_mean)
        return labels

    stage.labels_of = recorded
    Run(tmp_path, ONE_CPU).train(1, stage)
    assert updates == [(0, False, True), (2, False, False), (4, False, False)]
    assert stage.labels.known.all()
    assert stage.labels.movement[0] == 0
    assert (stage.labels.movement[1:] > 0).all()


def test_pseudo_labels_for_inspection_are_those_of_training():
    stage = adaptation(LABELS_ONLY)
    frames = target().unlabelled().take(torch.tensor([7, 2]))
    found = stage.pseudo_labels(frames)
    stored = stage.labels.labels(stage.labels.rows_of(frames.key))
    assert torch.equal(found.uv_px, stored.pseudo.uv_px(SIDE))
    assert found.kept[:, 0].tolist() == stored.accepted(1.5).tolist()
    assert torch.allclose(found.confidence[:, 0], (-stored.inconsistency).exp())
    others = replace(frames, key=("unseen", "too"))
    assert stage.pseudo_labels(others).uv_px.shape == (2, 21, 2)
    without = adaptation(replace(CONFIG, pseudo_labels=False))
    assert not without.pseudo_labels(frames).kept.any()


def test_the_history_counts_accepted_frames_and_movements():
    store = LabelStore(3, 21, iterations=2, shown_rows=torch.tensor([0, 2]))
    rows, keys = torch.arange(3), ("a", "b", "c")
    for iteration, inconsistency in enumerate(([0.1, 2.0, 3.0], [0.1, 0.2, 3.0])):
        store.begin(iteration)
        labels = StoredLabels(random_pose(iteration), random_pose(9), torch.tensor(inconsistency))
        store.store(rows, keys, labels)
        store.finish(threshold=1.5)
    assert store.accepted_share.tolist() == pytest.approx([1 / 3, 2 / 3])
    steps = np.linalg.norm((random_pose(1).uv - random_pose(0).uv).numpy(), axis=-1)
    assert store.movement.tolist() == pytest.approx([0, steps.mean()], rel=1e-5)
    assert torch.equal(store.shown[0][..., :2], random_pose(0).uv[[0, 2]])


@pytest.mark.parametrize("step", [2, 3])
def test_resuming_is_bit_exact(tmp_path, step):
    """At the first step of an iteration and in its middle, pseudo-labels and their history included."""

    def files(name: str) -> tuple:
        folder = tmp_path / name / "stages/1-adaptation"
        return *files_of(folder), *((folder / f"{other}.safetensors").read_bytes() for other in others)

    others = ("mask-heads", "pseudo-labels")
    Run(tmp_path / "one", ONE_CPU).train(1, adaptation())
    stage, calls = adaptation(), []
    inner = stage.terms

    def terms(batches, generator):
        calls.append(0)
        if len(calls) == step + 1:
            crash()
        return inner(batches, generator)

    stage.terms = terms
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "cut", ONE_CPU, checkpoint_seconds=0).train(1, stage)
    Run(tmp_path / "cut", ONE_CPU).train(1, adaptation())
    assert files("one") == files("cut")


def test_the_network_that_is_given_is_left_as_it_is(tmp_path):
    network = multi_task()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Run(tmp_path, ONE_CPU).train(1, adaptation(network=network))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_cross_modal_consistency_needs_circles():
    stage = adaptation()
    stage.circles = None
    with pytest.raises(ValueError, match="needs the circles"):
        stage.cross_modal_terms(maps_of(target().uv_px, target().hand_mask))


def test_configs_without_sense_are_refused():
    with pytest.raises(InputError, match="20 iterations of 6 steps"):
        replace(CONFIG, iterations=20)
    with pytest.raises(InputError, match="no term of the target"):
        replace(LABELS_ONLY, pseudo_labels=False)
