"""Rounds of pseudo-labels: who labels, which joints are kept, and what is trained."""

from dataclasses import replace

import pytest
import torch

from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.methods.self_training.config import SelfTrainingConfig, cc_ssl
from posebridge.methods.self_training.method import SelfTrainingMethod
from posebridge.methods.self_training.training import SelfTraining
from posebridge.training.run import Run
from posebridge.training.source_training import SourceTrainingConfig
from training.dots import (
    ONE_CPU,
    PLAIN,
    SCHEDULE,
    SIDE,
    VIEWS,
    Finder,
    all_stages,
    context,
    disturb,
    dots,
    finished,
    small_network,
    with_trainer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = SelfTrainingConfig(schedule=SCHEDULE, batch_size=4, geometry=VIEWS, appearance=PLAIN, rounds=3)


def training(network=None, **changes) -> SelfTraining:
    return with_trainer(SelfTraining(replace(CONFIG, **changes), context(), network or small_network()))


def test_labels_of_views_are_at_the_joints():
    frames = dots(8, seed=12)
    found = training(Finder(), label_views=5, kept_frac=(1.0, 1.0)).label(frames.unlabelled(), generator_for(0, 1))
    assert frames.uv_px is not None
    assert (found.uv_px - frames.uv_px).norm(dim=-1).max() < 0.02 * SIDE
    assert found.kept.all()


def test_kept_fractions_rise_to_the_last_and_stay():
    config = cc_ssl()
    assert [config.kept_at(progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx([0.2, 0.5, 0.8, 0.8])
    frames = dots(20, seed=3).unlabelled()
    stage = training(kept_frac=(0.2, 0.8))
    assert stage.label(frames, generator_for(0, 1)).kept.float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_a_round_labels_by_the_student_at_its_beginning(tmp_path):
    stage = SelfTraining(CONFIG, context(), small_network())
    students: list[dict[str, torch.Tensor]] = []
    inner = stage.terms

    def terms(batches, generator):
        before = {name: value.clone() for name, value in stage.student.state_dict().items()}
        found = inner(batches, generator)
        students.append(before)
        begun = stage.global_step // 4 * 4  # 12 steps, 3 rounds
        labeller = stage.labeller.state_dict()
        # The labeller is copied after the supervised pass, which changes the student's batch statistics.
        assert all(torch.equal(labeller[name], students[begun][name]) for name, _ in stage.student.named_parameters())
        return found

    stage.terms = terms
    Run(tmp_path, ONE_CPU).train(1, stage)
    assert len(students) == 12
    assert stage.round == 2


def test_labels_get_no_gradient():
    stage = training(kept_frac=(1.0, 1.0))
    batches = {"source": dots(8, seed=11), "target": dots(8, seed=12).unlabelled()}
    stage.terms(batches, generator_for(0, 1))["pseudo_heat"].backward()
    assert all(parameter.grad is None for parameter in stage.labeller.parameters())
    assert any(parameter.grad is not None for parameter in stage.student.parameters())


def test_resuming_is_bit_exact(tmp_path):
    config = replace(CONFIG, label_views=2)
    _, whole = finished(tmp_path / "whole", SelfTraining(config, context(), small_network()))
    stage = SelfTraining(config, context(), small_network())
    disturb(stage, {7: lambda: (_ for _ in ()).throw(RuntimeError("power cut"))})
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "two", ONE_CPU).train(1, stage)
    _, resumed = finished(tmp_path / "two", SelfTraining(config, context(), small_network()))
    assert resumed == whole


def test_the_stage_follows_the_source_model(tmp_path):
    source = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4, geometry=VIEWS)
    run, names = Run(tmp_path, ONE_CPU), []
    for number, (stage, selection) in enumerate(all_stages(SelfTrainingMethod(CONFIG), source, context())):
        run.train(number + 1, stage, selection)
        names.append(stage.name)
    assert names == ["source", "self-training"]


@pytest.mark.parametrize(
    "values", [{"kept_frac": (0.0, 0.5)}, {"kept_frac": (0.5, 1.5)}, {"label_views": 0}, {"rounds": 0}]
)
def test_numbers_without_sense_are_refused(values):
    with pytest.raises(InputError, match="give"):
        SelfTrainingConfig(**values)
