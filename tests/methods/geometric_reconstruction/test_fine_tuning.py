"""Fine-tuning: its terms, gradients, trained modules and pseudo-labels."""

from dataclasses import fields, replace

import lightning as L
import pytest
import torch

from methods.geometric_reconstruction.small_stages import batches, fine_tuning_stage, reconstructor_stage
from methods.stick_hands import (
    ALONE,
    CONFIG,
    RECONSTRUCTION,
    SCHEDULE,
    STEPS,
    changed,
    context,
    filmed,
    network,
    state,
    with_reconstructor,
)
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.draw import generator_for
from posebridge.losses.keypoints import combine
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.fine_tuning import FineTuning, Phase
from posebridge.methods.geometric_reconstruction.integrated_labels import LabelIntegration
from posebridge.methods.geometric_reconstruction.pretraining import Pretraining
from posebridge.training.pseudo_labels import HasPseudoLabels
from training.dots import finished, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_labels_of_the_target_are_refused():
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
def test_reconstruction_has_gradients_for_student_and_reconstructor_only(config):
    stage = with_trainer(fine_tuning_stage(config))
    stage.terms(batches(stage), generator_for(0, 0))["reconstruction"].backward()
    for module in (stage.student.encoder, stage.student.head, stage.reconstructor):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    assert stage.perceptual_loss is not None
    for module in (stage.teacher, stage.perceptual_loss):
        assert all(p.grad is None for p in module.parameters())
    # The loss depends on heat maps only, not on the depth half of the head.
    assert stage.student.head.weight.grad[21:].abs().sum() == 0


def test_fine_tuning_trains_student_reconstructor_and_teacher(tmp_path):
    stage = fine_tuning_stage()
    before = {name: state(module) for name, module in stage.named_children()}
    finished(tmp_path, stage)
    trained = [p for group in stage.parameter_groups() for p in group.parameters if p.requires_grad]
    assert {id(p) for p in trained} == {
        id(p) for module in (stage.student, stage.reconstructor) for p in module.parameters()
    }
    assert changed(stage.reconstructor, before["reconstructor"])
    assert changed(stage.student, before["student"])
    assert changed(stage.teacher, before["teacher"])
    assert not changed(stage.perceptual_loss, before["perceptual_loss"])
    assert stage.result() is stage.teacher
    assert not any(p.requires_grad for p in stage.teacher.parameters())


def with_source_videos(**changes) -> GeometricReconstructionConfig:
    return replace(CONFIG, reconstruction=replace(RECONSTRUCTION, source_videos=True, **changes))


def test_source_videos_train_the_reconstructor_alone():
    stage = with_trainer(fine_tuning_stage(with_source_videos(fine_tune_on_source=True)))
    assert stage.term_weights["source_reconstruction"] == stage.term_weights["reconstruction"]
    stage.terms(batches(stage), generator_for(0, 0))["source_reconstruction"].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in stage.reconstructor.parameters())
    assert all(p.grad is None for p in stage.student.parameters())
    assert "source_reconstruction" not in fine_tuning_stage(with_source_videos()).term_weights


def test_the_reconstructor_has_its_own_learning_rate(tmp_path):
    stage = fine_tuning_stage(replace(CONFIG, reconstruction=replace(RECONSTRUCTION, fine_tuning_rate=0.0)))
    before = {name: parameter.clone() for name, parameter in stage.reconstructor.named_parameters()}
    student = state(stage.student)
    finished(tmp_path, stage)
    assert all(torch.equal(parameter, before[name]) for name, parameter in stage.reconstructor.named_parameters())
    assert changed(stage.student, student)


def test_a_finished_stage_is_loaded_with_its_reconstructor(tmp_path):
    trained = fine_tuning_stage()
    finished(tmp_path, trained)
    loaded = fine_tuning_stage()
    assert changed(loaded.reconstructor, state(trained.reconstructor))
    finished(tmp_path, loaded)
    assert not changed(loaded.reconstructor, state(trained.reconstructor))


def test_the_given_reconstructor_is_not_changed(tmp_path):
    reconstructor = reconstructor_stage().reconstructor
    before = state(reconstructor)
    finished(tmp_path, FineTuning(CONFIG, Phase(SCHEDULE), context(), network(), None, reconstructor))
    assert not changed(reconstructor, before)


def test_the_teacher_is_a_moving_average_of_the_student(tmp_path):
    stage = fine_tuning_stage(replace(CONFIG, schedule=replace(SCHEDULE, steps=1)))
    before = {name: value.detach().clone() for name, value in stage.teacher.named_parameters()}
    finished(tmp_path, stage)
    students = dict(stage.student.named_parameters())
    for name, value in stage.teacher.named_parameters():
        torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * students[name].detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("since", "until"), [(0.0, 0.25), (0.25, 1.0)])
def test_progress_of_the_union_includes_the_warm_start(since, until, tmp_path):
    """Warm start and fine-tuning share one progress, on which the labels depend."""
    stage = fine_tuning_stage(ALONE, Phase(SCHEDULE, since, until))
    passed, targets = [], stage.integrated.pseudo_targets
    stage.integrated.pseudo_targets = lambda *args: passed.append(args[-1]) or targets(*args)
    finished(tmp_path, stage)
    expected = [since + (until - since) * step / STEPS for step in range(STEPS)]
    assert passed == pytest.approx(expected)
    assert CONFIG.warm_start_frac == pytest.approx(1 / 3)


def test_student_and_reconstruction_share_the_view_of_a_pair():
    """The student's images are those of the reconstruction."""
    stage, seen = with_trainer(fine_tuning_stage()), []
    given = batches(stage)
    still = replace(given["target"], image=given["target"].rgb[[0, 1, 0, 1]])
    stage.student.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stage.terms({**given, "target": still}, generator_for(0, 0))
    _, frames = seen  # source images, target images
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
def test_loaded_stages_label_with_final_progress(prepare, progress, monkeypatch):
    """Loaded stages have no trainer and use the progress of their end; new stages use that of their start."""
    stage = prepare(fine_tuning_stage(ALONE).eval())
    pseudo_targets, seen = stage.integrated.pseudo_targets, []

    def recorded(*args):
        seen.append(args[-1])
        return pseudo_targets(*args)

    monkeypatch.setattr(stage.integrated, "pseudo_targets", recorded)
    stage.pseudo_labels(filmed().unlabelled())
    assert seen == [progress]


def test_reading_pseudo_labels_changes_nothing():
    """The estimate of bone lengths, which training updates, does not change either."""
    config = replace(ALONE, labels=LabelIntegration(lengths="estimated"))
    stage = with_trainer(fine_tuning_stage(config))
    before = state(stage)
    stage.eval().pseudo_labels(filmed().unlabelled())
    assert not changed(stage, before)
    stage.train().terms(batches(stage), generator_for(0, 0))
    assert "integrated.log_lengths" in changed(stage, before)


def test_no_layer_runs_twice_on_the_same_images():
    """The student runs on source and target, the teacher on the target, the reconstructor once per pair."""
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
