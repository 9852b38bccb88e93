"""SynthShift, one seed of one track: source-only, adapted and target-supervised on the same held-out images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.contracts.section import Section
from posebridge.data.pairs import PairConfig, PairStream
from posebridge.data.streams import ShuffledStream
from posebridge.deployment.model_file import save_model
from posebridge.deployment.model_spec import PoseSpec
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.methods.geometric_reconstruction.evidence import reconstruction_sections
from posebridge.methods.geometric_reconstruction.method import GeometricReconstruction
from posebridge.methods.mean_teacher.method import MeanTeacher
from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.methods.supervised_target import SupervisedTarget, SupervisedTargetConfig
from posebridge.recipes.annotation_gap import gap_left, with_gap
from posebridge.recipes.body_rgb import BODY_RGB
from posebridge.recipes.hand_depth import HAND_DEPTH
from posebridge.recipes.hand_rgb import HAND_RGB
from posebridge.recipes.pipeline import (
    Trained,
    joints_of_source,
    label_free_selection,
    network_maker,
    predict,
    rendering_progress,
    train,
    truth_of,
)
from posebridge.recipes.records import RunMetadata, gallery, make_record
from posebridge.recipes.track import Footage, TrackData, TrackPlan, TrackRenderer, TrackSize
from posebridge.representations.pose25d import reference_length
from posebridge.synthesis.domains import Track
from posebridge.training.context import Context
from posebridge.training.options import Hardware
from posebridge.training.run import Run
from posebridge.training.selection import BoneStatistics

TRACKS: dict[Track, TrackPlan] = {plan.name: plan for plan in (HAND_RGB, BODY_RGB, HAND_DEPTH)}
_EVIDENCE = 512  # target frames whose trusted joints the record shows


MethodName = Literal["mean_teacher", "integrated_pseudo_labels", "geometric_reconstruction"]


@dataclass(frozen=True)
class SynthShiftConfig:
    """One cell of the benchmark's table."""

    track: Track = "hand-rgb"
    method: MethodName = "mean_teacher"
    size: Literal["small", "full"] = "small"
    seed: int = 0
    footage: Footage = (
        "stills"  # videos: for methods that need pairs of frames, and for others to be compared with them
    )
    annotation_gap: float = 0.0  # share of the way that some of the source's joints are moved; see annotation_gap.py
    bounds: Path | None = None  # folder where source model and upper bound lie or go, to be shared; None: in the run's
    sets: Path | None = None  # where rendered sets lie or go; None: rendered anew, in memory


@dataclass(frozen=True)
class Outcome:
    """What one seed gave: the record, the source model's score on its own domain, and how long training took."""

    plan: TrackPlan
    record: Record
    source_on_source: float
    training_minutes: float  # of all stages, over all the times that the run was resumed
    gap_left: Mapping[Role, float]  # of a gap of annotation, planted or not; see ``annotation_gap.gap_left``

    def row(self) -> dict[str, float | str | int | None]:
        """The row of the benchmark's table; the track's metric on held-out target images."""
        measured = {role: score.number(self.plan.metric) for role, score in self.record.scores.items()}
        return {
            "track": self.plan.name,
            "method": self.record.method,
            "seed": self.record.provenance.seed,
            "metric": self.plan.metric,
            **measured,
            "gap_closed": self.record.gap_closed,
            "minutes": self.training_minutes,
            "source_on_source": self.source_on_source,
            **{f"gap_left_{role}": share for role, share in self.gap_left.items()},
        }

    def groups(self, role: Role) -> dict[str, float]:
        """PCK@0.05 of a model by groups of joints."""
        return {f"PCK {name}": share for name, share in self.record.scores[role].per_group_pck.items()}


def run_synthshift(
    config: SynthShiftConfig,
    folder: Path,
    hardware: Hardware,
    kind: str = "synthshift",
    change: Callable[[TrackSize], TrackSize] = lambda size: size,
) -> Outcome:
    """Train and score; leaves a run with ``model.safetensors``, ``record.json`` and all its stages.

    ``change`` makes another recipe of the size's, for ablations: not of what source model and upper bound depend on.
    """
    started = monotonic()
    plan = TRACKS[config.track]
    size = change(plan.sizes[config.size])
    if config.footage == "videos":
        size = _at_equal_steps(size)
    method = _method(config, size)
    run = Run.create(folder, kind, config, hardware, size)
    images = (
        size.source_samples + size.target_samples * (3 if config.footage == "videos" else 1) + 2 * size.test_samples
    )
    with rendering_progress(images) as on_progress:
        data = TrackRenderer(plan, size, config.sets, on_progress).data(config.seed, config.footage)
    if config.annotation_gap:
        data = _with_gap(data, plan, config.annotation_gap)
    context = make_context(plan, size, data, config.seed, hardware)
    trained = _train(run, config, size, method, data, context)
    predictors: dict[Role, PosePredictor] = {
        role: PosePredictor(spec_of(plan, size, data, role), left.network) for role, left in trained.items()
    }
    found: dict[Role, KeypointSet] = {
        role: predict(predictor, data.test_target) for role, predictor in predictors.items()
    }
    scores: dict[Role, Score] = {
        role: score(prediction, data.test_target, plan, size) for role, prediction in found.items()
    }
    save_model(folder, predictors["adapted"].spec, trained["adapted"].network)
    found["adapted"].save(folder / "predictions.npz")
    story = RunMetadata(
        title=f"SynthShift {plan.name}, {size.name}",
        method=config.method,
        skeleton=plan.skeleton,
        config=config,
        recipe=size,
        seed=config.seed,
        started=started,
        skipped={},
        notes=("Source: labelled studio renders. Target: unlabelled street renders. Scored on held-out street ones.",),
        metric=plan.metric,
    )
    frames = gallery(data.test_target, found["adapted"], truth_of(data.test_target, plan.skeleton.joints))
    record = make_record(story, trained, scores, frames, _sections(trained["adapted"], data, context))
    save_record(record, folder)
    minutes = sum(report.seconds for left in trained.values() for report in left.reports) / 60
    on_source = score(predict(predictors["source_only"], data.test_source), data.test_source, plan, size)
    gaps: dict[Role, float] = {role: _gap_left(prediction, data, plan) for role, prediction in found.items()}
    return Outcome(plan, record, on_source.number(plan.metric), minutes, gaps)


def _with_gap(data: TrackData, plan: TrackPlan, gap: float) -> TrackData:
    """Everything that is labelled by the source's convention."""

    def moved(batch: LabelledBatch) -> LabelledBatch:
        return with_gap(batch, plan.skeleton, gap)

    videos = data.source_videos
    return replace(data, source=data.source.map(moved), source_videos=None if videos is None else videos.map(moved))


def _gap_left(prediction: KeypointSet, data: TrackData, plan: TrackPlan) -> float:
    assert prediction.uv_px is not None
    return gap_left(torch.from_numpy(prediction.uv_px), data.test_target, plan.skeleton)


def _sections(adapted: Trained, data: TrackData, context: Context) -> tuple[Section, ...]:
    """The sections of the method, empty for most."""
    labelled = data.target_labelled.all()
    some = labelled.take(torch.arange(0, len(labelled), max(1, len(labelled) // _EVIDENCE))[:_EVIDENCE])
    return reconstruction_sections(adapted.stages, context, pair_labels=labelled, frame_labels=some)


def _at_equal_steps(size: TrackSize) -> TrackSize:
    """With a mean teacher that sees as many frames in as many steps as the methods that it is compared with."""
    if size.geometric_reconstruction is None:
        return size
    alone = size.geometric_reconstruction.without_reconstruction()
    return replace(size, mean_teacher=replace(size.mean_teacher, schedule=alone.schedule, batch_size=alone.batch_size))


def _method(config: SynthShiftConfig, size: TrackSize) -> MeanTeacher | GeometricReconstruction:
    """Raises ``InputError`` for a method that the track or its footage has no use for."""
    if config.method == "mean_teacher":
        return MeanTeacher(size.mean_teacher)
    settings = size.geometric_reconstruction
    if settings is None:
        raise InputError(f"method {config.method} works on colour images, and track {config.track} has none")
    if config.method == "integrated_pseudo_labels":
        return GeometricReconstruction(settings.without_reconstruction())
    if config.footage != "videos":
        raise InputError(f"method {config.method} needs pairs of frames: give --footage videos")
    return GeometricReconstruction(settings)


def _train(
    run: Run,
    config: SynthShiftConfig,
    size: TrackSize,
    method: MeanTeacher | GeometricReconstruction,
    data: TrackData,
    context: Context,
) -> Mapping[Role, Trained]:
    """The three models; the second and the third start from the first."""
    bounds = run
    if config.bounds is not None:
        same = replace(config, method="mean_teacher", footage="stills", bounds=None)
        bounds = Run.create(config.bounds, "bounds", same, run.hardware, (size.source, size.supervised_target))
    source = train(bounds, 1, SourceOnly(SourceOnlyConfig(size.source)).stages(context))
    onward = replace(context, source_network=source.network)

    def labelled_stream(batch_size: int) -> ShuffledStream[LabelledBatch]:
        return ShuffledStream(data.bound_labelled, batch_size, config.seed)

    supervised_config = SupervisedTargetConfig(size.source, size.supervised_target)
    supervised = train(bounds, 2, SupervisedTarget(supervised_config, labelled_stream).stages(onward))
    adapted = train(run, 3, method.stages(onward))
    return {"source_only": source, "adapted": adapted, "supervised_target": supervised}


def make_context(plan: TrackPlan, size: TrackSize, data: TrackData, seed: int, hardware: Hardware) -> Context:
    """The streams of one seed. The target's labels go to the measure that sits beside the label-free choice."""

    return Context(
        new_network=network_maker(size.network, size.maps, seed),
        skeleton=plan.skeleton,
        source=lambda batch_size: ShuffledStream(data.source, batch_size, seed),
        target=lambda batch_size: ShuffledStream(data.target, batch_size, seed + 1),
        pairs=lambda count, config: PairStream(data.target, count, seed + 1, config),
        source_pairs=_source_pairs(data, seed),
        selection=label_free_selection(
            plan.skeleton,
            BoneStatistics.of(joints_of_source(data.source), plan.skeleton),
            data.target.all(),
            data.target_labelled.all(),
            size.mean_teacher.selections,
            size.selection_appearance,
        ),
        seed=seed,
        workers=hardware.workers,
    )


def _source_pairs(data: TrackData, seed: int) -> Callable[[int, PairConfig], PairStream[LabelledBatch]] | None:
    videos = data.source_videos
    return None if videos is None else lambda count, config: PairStream(videos, count, seed, config)


def spec_of(plan: TrackPlan, size: TrackSize, data: TrackData, role: Role) -> PoseSpec:
    """How to rebuild and read the network of a role."""
    length_m = reference_length(joints_of_source(data.source), plan.skeleton).mean().item()
    return PoseSpec(size.network, size.maps, plan.skeleton.name, size.size_px, length_m, role)


def score(prediction: KeypointSet, batch: LabelledBatch, plan: TrackPlan, size: TrackSize) -> Score:
    """The track's metric and everything beside it, on held-out images."""
    return evaluate(prediction, truth_of(batch, plan.skeleton.joints), size.size_px, plan.protocol)
