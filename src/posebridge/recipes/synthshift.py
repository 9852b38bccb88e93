"""SynthShift, one seed of one track: source-only, adapted and target-supervised on the same held-out images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.data.streams import HeldStream
from posebridge.deployment.model_file import ModelSpec, save_model
from posebridge.deployment.predictor import Predictor
from posebridge.evaluation.evaluate import evaluate
from posebridge.methods.mean_teacher import MeanTeacher
from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.methods.supervised_target import SupervisedTarget, SupervisedTargetConfig
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.recipes.hand_rgb import SIZES, HandRgbData, HandRgbSize, render_data
from posebridge.recipes.pipeline import (
    Trained,
    label_free_selection,
    predict,
    rendering_progress,
    train,
    truth_of,
)
from posebridge.recipes.records import Story, gallery, make_record
from posebridge.representations.pose25d import reference_length
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.options import Hardware
from posebridge.training.run import Run
from posebridge.training.selection import BoneStatistics

_SOURCE_STATISTICS = 2048  # source samples from which bone lengths are taken


@dataclass(frozen=True)
class SynthShiftConfig:
    """One cell of the benchmark's table."""

    track: Literal["hand-rgb"] = "hand-rgb"
    method: Literal["mean_teacher"] = "mean_teacher"
    size: Literal["small", "full"] = "small"
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one seed gave: the record, the source model's score on its own domain, and how long training took."""

    record: Record
    source_on_source: float
    training_minutes: float  # of all stages, over all the times that the run was resumed

    def row(self) -> dict[str, float | str | int | None]:
        """The row of the benchmark's table; PCK@0.05 of held-out target images."""
        scores = self.record.scores
        return {
            "method": self.record.method,
            "seed": self.record.provenance.seed,
            "source_only": scores["source_only"].pck_005,
            "adapted": scores["adapted"].pck_005,
            "supervised_target": scores["supervised_target"].pck_005,
            "gap_closed": self.record.gap_closed,
            "minutes": self.training_minutes,
            "source_on_source": self.source_on_source,
        }


def run_synthshift(config: SynthShiftConfig, folder: Path, hardware: Hardware, kind: str = "synthshift") -> Outcome:
    """Train and score; leaves a run with ``model.safetensors``, ``record.json`` and all its stages."""
    started = monotonic()
    size = SIZES[config.size]
    run = Run.create(folder, kind, config, hardware, size)
    with rendering_progress(size.source_samples + size.target_samples + 2 * size.test_samples) as told:
        data = render_data(size, config.seed, told)
    context = make_context(size, data, config.seed, hardware)
    source = train(run, 1, SourceOnly(SourceOnlyConfig(size.source)).stages(context))
    onward = replace(context, source_network=source.network)
    adapted = train(run, 2, MeanTeacher(size.mean_teacher).stages(onward))

    def labelled_stream(batch_size: int) -> HeldStream[LabelledBatch]:
        return HeldStream(data.target_labelled, batch_size, config.seed)

    supervised_config = SupervisedTargetConfig(size.source, size.supervised_target)
    supervised = train(run, 3, SupervisedTarget(supervised_config, labelled_stream).stages(onward))
    trained: Mapping[Role, Trained] = {"source_only": source, "adapted": adapted, "supervised_target": supervised}
    predictors: dict[Role, Predictor] = {}
    for role, left in trained.items():
        predictors[role] = Predictor(spec_of(size, data, role), left.network)
    scores: dict[Role, Score] = {}
    for role, predictor in predictors.items():
        scores[role] = score(predictor, data.test_target, size)
    save_model(folder, predictors["adapted"].spec, adapted.network)
    prediction = predict(predictors["adapted"], data.test_target)
    prediction.save(folder / "predictions.npz")
    story = Story(
        title=f"SynthShift hand-rgb, {config.size}",
        method=config.method,
        skeleton=HAND21,
        config=config,
        recipe=size,
        seed=config.seed,
        started=started,
        skipped={},
        notes=("Source: labelled studio renders. Target: unlabelled street renders. Scored on held-out street ones.",),
    )
    frames = gallery(data.test_target, prediction, truth_of(data.test_target, HAND21.joints))
    record = make_record(story, trained, scores, frames)
    save_record(record, folder)
    minutes = sum(report.seconds for left in trained.values() for report in left.reports) / 60
    return Outcome(record, score(predictors["source_only"], data.test_source, size).pck_005, minutes)


def make_context(size: HandRgbSize, data: HandRgbData, seed: int, hardware: Hardware) -> Context:
    """The streams of one seed. The target's labels go to the measure that sits beside the label-free choice."""
    source_joints_m = data.source.part(slice(0, _SOURCE_STATISTICS)).joints_m
    assert source_joints_m is not None

    def new_network() -> PoseResNet:
        torch.manual_seed(seed)
        return PoseResNet(size.network)

    return Context(
        new_network=new_network,
        maps=size.maps,
        skeleton=HAND21,
        source=lambda batch_size: HeldStream(data.source, batch_size, seed),
        target=lambda batch_size: HeldStream(data.target, batch_size, seed + 1),
        selection=label_free_selection(
            size.maps,
            HAND21,
            BoneStatistics.of(source_joints_m, HAND21),
            data.target.all(),
            data.target_labelled.all(),
            size.mean_teacher.selections,
        ),
        seed=seed,
        workers=hardware.workers,
    )


def spec_of(size: HandRgbSize, data: HandRgbData, role: Role) -> ModelSpec:
    """How to rebuild and read the network of a role."""
    source_joints_m = data.source.part(slice(0, _SOURCE_STATISTICS)).joints_m
    assert source_joints_m is not None
    length_m = reference_length(source_joints_m, HAND21).mean().item()
    return ModelSpec(size.network, size.maps, HAND21.name, size.size_px, length_m, role)


def score(predictor: Predictor, batch: LabelledBatch, size: HandRgbSize) -> Score:
    """PCK@0.05 and everything beside it, on held-out images."""
    return evaluate(predict(predictor, batch), truth_of(batch, HAND21.joints), size.size_px)
