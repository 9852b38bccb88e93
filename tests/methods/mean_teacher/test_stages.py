"""Stages of the mean teacher: their order, inputs and gain on the target."""

from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from networks.tiny_style import TINY
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import generator_for
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.mean_teacher.method import MeanTeacher
from posebridge.networks.vgg import VggConfig
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.pseudo_labels import pseudo_labels_of
from posebridge.training.run import Run, SelectionPlan
from posebridge.training.source_training import SourceTrainingConfig
from posebridge.training.style import AdaINStyle, FourierStyle
from training.dots import (
    ONE_CPU,
    PLAIN,
    SCHEDULE,
    SIDE,
    UNMOVED,
    VIEWS,
    adaptation_stage,
    all_stages,
    context,
    dots,
    finished,
    small_network,
    source_stage,
    with_trainer,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_labels_of_the_target_are_refused():
    labels = {f.name for f in fields(LabelledBatch)} - {f.name for f in fields(UnlabelledBatch)}
    assert labels == {
        *("uv_px", "valid", "visible", "joints_m", "mask", "hand_mask", "depth_label_m", "vertices_m"),
        *("angles_rad", "phenotypes"),
    }
    assert type(context().target_frames.batches(4).batch(0)) is UnlabelledBatch
    stage = with_trainer(adaptation_stage(context()))
    with pytest.raises(AssertionError):
        stage.terms({"source": dots(8, seed=11), "target": dots(8, seed=12)}, generator_for(0, 0))
    with pytest.raises(ValueError, match="target"):
        adaptation_stage(context(target=None))


SOURCE = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4, geometry=VIEWS)


def test_stages_in_order(tmp_path):
    plan = SelectionPlan(lambda network: 0.0)
    adain = AdaINStyle(
        VggConfig(widths=(4, 6, 8), depths=(1, 1, 1), pretrained="none"), TINY, replace(SCHEDULE, steps=2), batch_size=2
    )
    for style, names in (
        (adain, ["source", "style", "mean-teacher"]),
        (FourierStyle(), ["source", "mean-teacher"]),
        (None, ["source", "mean-teacher"]),
    ):
        config = MeanTeacherConfig(style, replace(SCHEDULE, steps=3), batch_size=4, geometry=VIEWS)
        found, plans = [], []
        run = Run(tmp_path / "-".join(names) / str(style is None), ONE_CPU)
        for number, (stage, selection) in enumerate(
            all_stages(MeanTeacher(config), SOURCE, context(selection=plan)), 1
        ):
            run.train(number, stage, selection)
            found.append(stage.name)
            plans.append(selection)
        assert found == names
        assert plans == [None] * (len(names) - 1) + [plan]


def test_adaptation_starts_from_the_source_network(tmp_path):
    config = MeanTeacherConfig(None, SCHEDULE, batch_size=4)
    stages = all_stages(MeanTeacher(config), SOURCE, context())
    source, _ = next(stages)
    finished(tmp_path, source)
    adaptation, _ = next(stages)
    trained = source.result().state_dict()
    for network in (adaptation.student, adaptation.teacher):
        assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())
    ((only, _),) = all_stages(MeanTeacher(config), SOURCE, context(source_network=small_network()))
    assert only.name == "mean-teacher"
    with pytest.raises(ValueError, match="source-trained network"):
        next(MeanTeacher(config).stages(context()))


def on_other_ground(batch: LabelledBatch, seed: int) -> LabelledBatch:
    """The same dots with mixed colours, dimmed, on a bright and noisy background."""
    mixing = torch.tensor([[0.55, 0.4, 0.05], [0.05, 0.55, 0.4], [0.4, 0.05, 0.55]])
    mixed = torch.einsum("ij,bjhw->bihw", mixing, batch.rgb)
    noise = 0.1 * torch.randn(mixed.shape, generator=torch.Generator().manual_seed(seed))
    return replace(batch, image=(0.5 * mixed + 0.3 + noise).clamp(0, 1))


def share_right(network: nn.Module, batch: LabelledBatch) -> float:
    seen = pseudo_labels_of(network.eval().predict, batch.rgb)
    return ((seen.uv_px - batch.uv_px).norm(dim=-1) < 0.1 * SIDE).float().mean().item()


def test_adaptation_improves_the_target_and_keeps_the_source(tmp_path):
    """Seeded; over six other draws the source gave 0.77 to 1.00, and adaptation 0.02 to 0.41 more on the target."""
    source, target = (
        InMemoryDataset([dots(400, 100)]),
        InMemoryDataset([on_other_ground(dots(400, 200), 200).unlabelled()]),
    )
    known, new = dots(200, 9), on_other_ground(dots(200, 10), 10)
    made = context(seed=0, source=InMemoryFrames(source, 1), target=InMemoryFrames(target, 2))
    views = GeometryConfig(rotation_deg=20.0, shear_deg=0.0, translation=0.04, scale=(0.9, 1.1))
    plain = {"batch_size": 12, "geometry": views, "appearance": PLAIN}
    schedule = Schedule(steps=130, learning_rate=3e-3, decay="cosine", warmup=0.1)
    first = source_stage(made, schedule=schedule, **plain)
    finished(tmp_path / "source", first)
    schedule = Schedule(steps=90, learning_rate=1e-3, decay="cosine")
    second = adaptation_stage(
        made, first.result().train(), schedule=schedule, **plain,
        occlusion=UNMOVED, average_decay=0.9, teacher_views=1, kept_frac=0.6,
    )  # fmt: skip
    finished(tmp_path / "adapted", second)
    assert share_right(first.result(), known) > 0.95
    assert share_right(second.result(), known) > 0.95
    assert share_right(second.result(), new) > share_right(first.result(), new) + 0.15
