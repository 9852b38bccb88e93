"""What moves in each stage of geometric reconstruction, what each step is asked for, and what it can't see."""

import copy
from dataclasses import fields, replace

import lightning as L
import pytest
import torch
from torch import Tensor

from methods.stick_hands import (
    ALONE,
    CONFIG,
    FRAMES,
    RECONSTRUCTION,
    SCHEDULE,
    SIDE,
    STEPS,
    changed,
    context,
    filmed,
    network,
    state,
    with_reconstructor,
)
from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.augment import NONE, GeometryConfig
from posebridge.draw import generator_for
from posebridge.losses.keypoints import combine
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.integrated_labels import LabelIntegration
from posebridge.methods.geometric_reconstruction.perceptual_features import VggFeatures
from posebridge.methods.geometric_reconstruction.pretraining import Pretraining
from posebridge.methods.geometric_reconstruction.reconstructor_training import (
    ReconstructorTraining,
    draw_same_views,
    reconstruct_pairs,
    same_view,
    soft_joints,
)
from posebridge.networks.vgg import VggConfig
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.training.pseudo_labels import HasPseudoLabels
from posebridge.training.stage import Stage
from posebridge.training.style import FourierStyle
from training.dots import MAPS, finished, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def pretraining_stage(**changes) -> Pretraining:
    config = replace(CONFIG, **changes)
    assert config.pretraining is not None
    assert isinstance(config.style, FourierStyle)
    return Pretraining(config, config.pretraining, context(), network(), config.style.restyler())


def reconstructor_stage(config: GeometricReconstructionConfig = CONFIG) -> ReconstructorTraining:
    assert config.reconstruction is not None
    return ReconstructorTraining(config.geometry, config.reconstruction, context(), network())


def fine_tuning_stage(config: GeometricReconstructionConfig = CONFIG, phase: Phase | None = None) -> FineTuning:
    reconstructor = None if config.reconstruction is None else reconstructor_stage(config).reconstructor
    return FineTuning(
        config, phase or Phase(config.schedule, start_frac=0.5), context(), network(), None, reconstructor
    )


def batches(stage: Stage, number: int = 0) -> dict:
    return {name: stream.batch(number) for name, stream in stage.streams.items()}


def test_no_label_of_the_target_can_enter():
    labels = {f.name for f in fields(LabelledBatch)} - {f.name for f in fields(UnlabelledBatch)}
    assert {"uv_px", "joints_m", "valid"} <= labels
    stage = with_trainer(fine_tuning_stage())
    given = batches(stage)
    assert type(given["target"]) is UnlabelledBatch
    frames = filmed().take(torch.tensor([0, 1, 2, 3]))
    with pytest.raises(AssertionError):
        stage.terms({**given, "target": frames}, generator_for(0, 0))
    stage = with_trainer(reconstructor_stage())
    with pytest.raises(AssertionError):
        stage.terms({"pairs": frames}, generator_for(0, 0))
    with pytest.raises(ValueError, match="target"):
        FineTuning(CONFIG, Phase(SCHEDULE), context(target=None), network(), None)
    assert CONFIG.pretraining is not None
    with pytest.raises(ValueError, match="target"):
        Pretraining(CONFIG, CONFIG.pretraining, context(target=None), network(), None)


def test_pretraining_terms_are_named_as_their_weights():
    stage = with_trainer(pretraining_stage())
    terms = stage.terms(batches(stage), generator_for(0, 0))
    assert stage.term_weights == {"heat": 1.0, "depth": 0.1, "alignment": 0.1}
    # The encoder is what alignment moves; the decoder it never sees.
    terms["alignment"].backward(retain_graph=True)
    assert all(p.grad is not None for p in stage.network.encoder.parameters())
    assert any(p.grad.abs().sum() > 0 for p in stage.network.encoder.parameters())
    assert all(p.grad is None for p in stage.network.head.parameters())
    combine(terms, stage.term_weights).backward()
    assert all(p.grad is not None for p in stage.network.parameters())


def test_an_image_whose_style_is_its_own_is_aligned_best():
    """Without a change of style z and z+ are the same up to the batch; the pairs' cosine is one."""
    stage = with_trainer(pretraining_stage(appearance=CONFIG.appearance, geometry=NONE))
    stage.network.eval()
    given = batches(stage)
    plain, styled = with_trainer(pretraining_stage(geometry=NONE)), stage
    plain.restyler = None
    plain.network.eval()
    found = {
        name: made.terms(given, generator_for(0, 0))["alignment"]
        for name, made in (("plain", plain), ("styled", styled))
    }
    with torch.no_grad():
        z = torch.nn.functional.normalize(stage.network.features(given["source"].rgb)[-1].mean((2, 3)), dim=1)
    similar = (z @ z.T / 0.5).exp()
    expected = (2 * (similar.sum(1) - similar.diagonal())).log() - 2
    assert found["plain"].item() == pytest.approx(expected.mean().item(), abs=1e-4)
    assert found["styled"] > found["plain"]


def test_pretraining_uses_every_image_in_both_styles():
    stage, seen = with_trainer(pretraining_stage(geometry=NONE)), []
    stage.network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0] * 0.25 + 0.45))
    given = batches(stage)
    stage.terms(given, generator_for(0, 0))
    (images,) = seen
    torch.testing.assert_close(images[:4], given["source"].rgb, atol=1e-5, rtol=0)
    other = (images[4:] - images[:4]).abs().flatten(1)
    assert (other.amax(1) > 0.02).all()


@pytest.mark.parametrize("guide", ["bones", "heatmaps"])
def test_only_the_reconstructor_trains_in_its_stage(guide, tmp_path):
    stage = reconstructor_stage(with_reconstructor(guide=guide))
    before = {name: state(module) for name, module in stage.named_children()}
    assert before.keys() == {"network", "reconstructor", "perceptual_loss"}
    finished(tmp_path, stage)
    assert not changed(stage.network, before["network"])  # nor its statistics of batches
    assert not changed(stage.perceptual_loss, before["perceptual_loss"])
    moved = changed(stage.reconstructor, before["reconstructor"])
    parameters = {name for name, _ in stage.reconstructor.named_parameters()}
    assert len(moved & parameters) > 0.8 * len(parameters)
    assert stage.result() is stage.reconstructor


def test_initial_weights_are_the_same_whatever_was_drawn_before():
    """Features that are not trained as well: those of fine-tuning are those that the reconstructor has learnt by."""
    features = VggFeatures(VggConfig(widths=(4, 6), depths=(1, 1), pretrained="none"))
    config = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, features=features))
    torch.manual_seed(1)
    one = reconstructor_stage(config)
    torch.rand(17)
    assert not changed(reconstructor_stage(config).reconstructor, state(one.reconstructor))
    torch.rand(17)
    assert not changed(fine_tuning_stage(config).perceptual_loss, state(one.perceptual_loss))
    other = ReconstructorTraining(config.geometry, config.reconstruction, context(seed=6), network())
    assert changed(other.reconstructor, state(one.reconstructor))


def test_source_videos_are_reconstructed_from_labels():
    """Half of the pairs; and in a view that mirrors, labels trade sides as joints of a prediction do."""
    config = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, source_videos=True, batch_pairs=4))
    stage, asked = with_trainer(reconstructor_stage(config)), []
    stage.reconstructor.register_forward_pre_hook(lambda _, inputs: asked.append(inputs))
    given = batches(stage)
    assert {name: len(batch) for name, batch in given.items()} == {"pairs": 4, "source_pairs": 4}
    assert type(given["pairs"]) is UnlabelledBatch
    terms = stage.terms(given, generator_for(0, 0))
    assert terms.keys() == stage.term_weights.keys() == {"reconstruction", "source_reconstruction"}
    _, (base, uv_base, uv_driving, _) = asked
    generator = generator_for(0, 0)
    draw_same_views(given["pairs"], config.geometry, generator)
    T_view = draw_same_views(given["source_pairs"], config.geometry, generator)
    joints = apply_affine(T_view, given["source_pairs"].uv_px)
    torch.testing.assert_close(torch.cat([uv_base, uv_driving]), joints, atol=1e-4, rtol=0)
    assert len(base) == 2


def test_pairs_share_one_view():
    """So the background of both stays in one place: the ground of a pair without hands is the same in both views."""
    ground = filmed().take(torch.tensor([0, FRAMES, 0, FRAMES])).unlabelled()
    views = draw_same_views(ground, GeometryConfig(), generator_for(0, 0))
    assert torch.equal(views[:2], views[2:])
    assert not torch.equal(views[0], views[1])
    shown = same_view(ground, GeometryConfig(), generator_for(0, 0))
    assert torch.equal(shown.rgb[:2], shown.rgb[2:])
    assert not torch.equal(shown.rgb, ground.rgb)
    assert shown.T_crop_file is not None
    torch.testing.assert_close(shown.T_crop_file, views)


def test_soft_joints_are_in_pixels_of_the_image():
    uv = torch.tensor([[[9.3, 12.1], [20.0, 17.7]]])
    heat, _ = encode_gaussian(map_from_image(uv, (SIDE, SIDE), (16, 16)), 16, 16, 1.0, "sum")
    torch.testing.assert_close(soft_joints(heat.clamp_min(1e-20).log(), MAPS, SIDE), uv, atol=0.02, rtol=0)


class Copier(torch.nn.Module):
    """In place of a reconstructor: notes what it is asked for."""

    def forward(self, base: Tensor, uv_base: Tensor, uv_driving: Tensor, T_base_driving: Tensor):
        self.asked = (base, uv_base, uv_driving, T_base_driving)
        return self.asked


def test_a_pair_is_its_base_frame_and_its_driving_joints():
    frames = filmed().unlabelled().take(torch.tensor([0, 9, 3, 12]))
    T = torch.eye(3).repeat(4, 1, 1)
    T[2, 0, 2] = 5.0  # the first driving crop shows what lies 5 px to the left
    frames = replace(frames, T_crop_file=T)
    uv = torch.rand(4, 21, 2)
    base, uv_base, uv_driving, T_base_driving = reconstruct_pairs(Copier(), frames, uv)
    assert torch.equal(base, frames.rgb[:2])
    assert torch.equal(uv_base, uv[:2])
    assert torch.equal(uv_driving, uv[2:])
    place = apply_affine(T_base_driving, torch.zeros(2, 1, 2))[:, 0]
    assert place.tolist() == [[-5, 0], [0, 0]]


def test_fine_tuning_terms_are_named_as_their_weights():
    expected = {
        "heat": 1.0, "depth": 0.1, "pseudo_heat": 0.1, "pseudo_pose": pytest.approx(0.01),
        "pseudo_depth": pytest.approx(0.01),
    }  # fmt: skip
    full, alone = with_trainer(fine_tuning_stage()), with_trainer(fine_tuning_stage(ALONE))
    assert full.term_weights == {**expected, "reconstruction": 0.1}
    assert alone.term_weights == expected
    for stage in (full, alone):
        terms = stage.terms(batches(stage), generator_for(0, 0))
        assert combine(terms, stage.term_weights).isfinite()
    assert len(full.streams["target"].batch(0)) == len(alone.streams["target"].batch(0)) == CONFIG.batch_size


@pytest.mark.parametrize("config", [CONFIG, with_reconstructor(guide="heatmaps"), CONFIG.with_moving_camera()],
                         ids=["bones", "heatmaps", "affine"])  # fmt: skip
def test_reconstruction_moves_the_student_and_the_reconstructor_and_nobody_else(config):
    stage = with_trainer(fine_tuning_stage(config))
    stage.terms(batches(stage), generator_for(0, 0))["reconstruction"].backward()
    for module in (stage.student.encoder, stage.student.head, stage.reconstructor):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    assert stage.perceptual_loss is not None
    for module in (stage.teacher, stage.perceptual_loss):
        assert all(p.grad is None for p in module.parameters())
    # Heat maps tell places; the depth half of the head is none of its business.
    assert stage.student.head.weight.grad[21:].abs().sum() == 0


def test_who_trains_in_fine_tuning(tmp_path):
    stage = fine_tuning_stage()
    before = {name: state(module) for name, module in stage.named_children()}
    finished(tmp_path, stage)
    assert {id(p) for p in stage.trained_parameters() if p.requires_grad} == {
        id(p) for module in (stage.student, stage.reconstructor) for p in module.parameters()
    }
    assert changed(stage.reconstructor, before["reconstructor"])
    assert changed(stage.student, before["student"])
    assert changed(stage.teacher, before["teacher"])
    assert not changed(stage.perceptual_loss, before["perceptual_loss"])
    assert stage.result() is stage.teacher
    assert not any(p.requires_grad for p in stage.teacher.parameters())


def test_the_reconstructor_that_is_handed_over_stays(tmp_path):
    reconstructor = reconstructor_stage().reconstructor
    before = state(reconstructor)
    finished(tmp_path, FineTuning(CONFIG, Phase(SCHEDULE), context(), network(), None, reconstructor))
    assert not changed(reconstructor, before)


def test_the_teacher_follows_by_the_formula(tmp_path):
    stage = fine_tuning_stage(replace(CONFIG, schedule=replace(SCHEDULE, steps=1)))
    before = {name: value.detach().clone() for name, value in stage.teacher.named_parameters()}
    finished(tmp_path, stage)
    students = dict(stage.student.named_parameters())
    for name, value in stage.teacher.named_parameters():
        torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * students[name].detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("since", "until"), [(0.0, 0.25), (0.25, 1.0)])
def test_the_union_counts_from_the_start_of_the_warm_start(since, until, tmp_path):
    """Warm start and the rest are parts of one fine-tuning; labels depend on its progress."""
    stage = fine_tuning_stage(ALONE, Phase(SCHEDULE, since, until))
    passed, targets = [], stage.integrated.pseudo_targets
    stage.integrated.pseudo_targets = lambda *args: passed.append(args[-1]) or targets(*args)
    finished(tmp_path, stage)
    expected = [since + (until - since) * step / STEPS for step in range(STEPS)]
    assert passed == pytest.approx(expected)
    assert RECONSTRUCTION.warm_start_frac(CONFIG.schedule) == pytest.approx(1 / 3)


def test_student_and_reconstruction_share_the_view_of_a_pair():
    """The student's frames, and those that are reconstructed."""
    stage, seen = with_trainer(fine_tuning_stage()), []
    given = batches(stage)
    still = replace(given["target"], image=given["target"].rgb[[0, 1, 0, 1]])
    stage.student.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stage.terms({**given, "target": still}, generator_for(0, 0))
    _, frames = seen  # of the source, of the target
    assert torch.equal(frames[:2], frames[2:])
    alone = with_trainer(fine_tuning_stage(ALONE))
    seen.clear()
    alone.student.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    alone.terms({**given, "target": still}, generator_for(0, 0))
    assert not torch.equal(seen[1][:2], seen[1][2:])


def test_fine_tuning_returns_its_pseudo_labels():
    stage = fine_tuning_stage(ALONE).eval()
    assert isinstance(stage, HasPseudoLabels)
    stage.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    shown = stage.pseudo_labels(filmed().unlabelled())
    assert shown.uv_px.shape == (len(filmed()), 21, 2)
    assert shown.by_confidence is not None
    assert shown.by_confidence.float().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("prepare", "progress"), [(with_trainer, 0.5), (lambda stage: stage, 1.0)])
def test_a_loaded_stage_labels_as_at_its_end(prepare, progress, monkeypatch):
    """A resumed run loads finished stages, which then have no trainer; a stage that starts has done no step."""
    stage = prepare(fine_tuning_stage(ALONE).eval())
    pseudo_targets, seen = stage.integrated.pseudo_targets, []

    def recorded(*args):
        seen.append(args[-1])
        return pseudo_targets(*args)

    monkeypatch.setattr(stage.integrated, "pseudo_targets", recorded)
    stage.pseudo_labels(filmed().unlabelled())
    assert seen == [progress]


def test_reading_pseudo_labels_changes_nothing():
    """Nor the estimate of bone lengths, which moves while the stage trains."""
    config = replace(ALONE, labels=LabelIntegration(lengths="estimated"))
    stage = with_trainer(fine_tuning_stage(config))
    before = state(stage)
    stage.eval().pseudo_labels(filmed().unlabelled())
    assert not changed(stage, before)
    stage.train().terms(batches(stage), generator_for(0, 0))
    assert "integrated.log_lengths" in changed(stage, before)


def test_no_layer_runs_twice_on_the_same_images():
    """The student sees source and target, the teacher the target; of a reconstructed pair all is computed once."""
    stage = with_trainer(fine_tuning_stage())
    expected = {
        stage.student: 2,
        stage.teacher: 1,
        stage.reconstructor: 1,
        stage.perceptual_loss: 2 * 2,
    }  # scales, images
    runs = {run: dict.fromkeys(_layers(run), 0) for run in expected}
    for counts in runs.values():
        for layer in counts:
            layer.register_forward_pre_hook(lambda layer, _, counts=counts: counts.update({layer: counts[layer] + 1}))
    stage.terms(batches(stage), generator_for(0, 0))
    for run, times in expected.items():
        assert set(runs[run].values()) == {times}


def _layers(module: torch.nn.Module) -> list[torch.nn.Module]:
    return [layer for layer in module.modules() if next(layer.parameters(recurse=False), None) is not None]


@pytest.mark.parametrize("combination", ["2d", "3d", "separate", "union"])
def test_every_row_of_table_b_trains(combination):
    config = replace(ALONE, labels=LabelIntegration(combination=combination), kept_frac=1.0)
    stage = with_trainer(fine_tuning_stage(config))
    terms = stage.terms(batches(stage), generator_for(0, 0))
    assert combine(terms, stage.term_weights).isfinite()
    assert (terms["pseudo_heat"] > 0) == (combination != "3d")


def test_a_reconstructor_trains_on_what_a_network_predicts(tmp_path):
    """Its loss falls, though joints are those of an untrained network."""
    schedule = replace(SCHEDULE, steps=30, learning_rate=5e-3)
    config = replace(CONFIG, reconstruction=replace(RECONSTRUCTION, schedule=schedule, batch_pairs=4))
    stage = reconstructor_stage(config)
    before = copy.deepcopy(stage.reconstructor)
    finished(tmp_path, stage)
    view = stage.streams["pairs"].batch(0)
    with_trainer(stage)
    losses = []
    for reconstructor in (before, stage.reconstructor):
        stage.reconstructor = reconstructor.eval()
        with torch.no_grad():
            losses.append(stage.terms({"pairs": view}, generator_for(0, 0))["reconstruction"].item())
    assert losses[1] < 0.9 * losses[0]
