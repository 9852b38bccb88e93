"""SynthShift, one seed of one track: source-only, adapted and target-supervised on the same test images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from posebridge.bodies.parametric_hand import load_parametric_hand
from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.record import Role
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError
from posebridge.experiments.annotation_gap import residual_gap, with_gap
from posebridge.experiments.configs import Split, SynthShiftConfig
from posebridge.experiments.data import ExperimentData, SelectionData
from posebridge.experiments.evaluation_sets import InMemoryEvaluation, truth_of
from posebridge.experiments.preset import Preset
from posebridge.experiments.presets.table import find_preset
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.runner import Experiment, Outcome, run_experiment
from posebridge.experiments.tracks import TRACKS, TrackSpec
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.methods.registry import MethodEntry, find_method
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run

TEST_SEED = 1_000_003  # of the first scored set; training sets have lower seeds
_SOURCE_STATISTICS = 2048  # source samples from which bone lengths are taken
_MEASURED = 512  # target frames on which trusted joints are measured


@dataclass(frozen=True)
class SynthShiftSets:
    """The rendered sets of one seed. Labels of the target are for measuring; methods get ``target`` without them."""

    source: InMemoryDataset[LabelledBatch]
    source_videos: InMemoryDataset[LabelledBatch] | None
    target: InMemoryDataset[LabelledBatch]
    upper_bound: InMemoryDataset[LabelledBatch]  # single images, also where the target is videos
    test_source: InMemoryDataset[LabelledBatch]
    test_target: InMemoryDataset[LabelledBatch]

    def adapted_to(self, split: Split) -> InMemoryDataset[LabelledBatch]:
        """The target's frames of a split; methods get them without labels."""
        if split == "train":
            return self.target
        test = self.test_target.map(_renamed_test)
        return test if split == "test" else InMemoryDataset([self.target.all(), test.all()])


@dataclass(frozen=True)
class SynthShiftOutcome(Outcome):
    """The outcome of one seed, with numbers of SynthShift alone."""

    track: TrackSpec
    source_on_source: float  # the source model's score on its own domain
    residual_gap: Mapping[Role, float]  # of a gap of annotation, planted or not

    def row(self) -> dict[str, float | str | int | None]:
        """The row of the benchmark's table; the track's metric on test images of the target."""
        measured = {role: score.number(self.track.metric) for role, score in self.scores.items()}
        return {
            "track": self.track.name,
            "method": self.record.method,
            "seed": self.record.provenance.seed,
            "metric": self.track.metric,
            **measured,
            "gap_closed": self.record.gap_closed,
            "minutes": self.training_minutes,
            "source_on_source": self.source_on_source,
            **{f"residual_gap_{role}": factor for role, factor in self.residual_gap.items()},
        }

    def groups(self, role: Role) -> dict[str, float]:
        """PCK@0.05 of a model by groups of joints."""
        return {f"PCK {name}": share for name, share in self.scores[role].per_group_pck.items()}


def run_synthshift(
    config: SynthShiftConfig,
    folder: Path,
    hardware: Hardware,
    kind: str = "synthshift",
    change: Callable[[Preset], Preset] = lambda preset: preset,
    sets: SynthShiftSets | None = None,
) -> SynthShiftOutcome:
    """Render, train and score.

    ``change`` makes another preset, for ablations: not of what source model and upper bound depend on. ``sets`` are
    rendered sets of the same config, where several runs share them.
    Raises ``InputError`` for a method that the track or its frames don't fit.
    """
    track, method = TRACKS[config.track], find_method(config.method)
    _check(config, track, method)
    base = find_preset(track.preset_family, config.preset, method.name)
    preset = change(_at_equal_steps(base) if config.target_frames == "videos" else base)
    preset = preset.keeping(method.name, "supervised-target")
    run = Run.create(folder, kind, config, hardware, preset)
    sets = sets or render_sets(config, preset, method)
    data = _data(config, track, preset, sets)
    upper_bound = "supervised-target" in preset.methods
    experiment = Experiment(
        title=f"SynthShift {track.name}, {preset.name}",
        method=method,
        preset=preset,
        skeleton=track.skeleton,
        seed=config.seed,
        hardware=hardware,
        config=config,
        metric=track.metric,
        upper_bound=upper_bound,
    )
    outcome = run_experiment(experiment, data, run, _shared_run(config, preset, hardware))
    return _outcome(outcome, track, sets)


def _check(config: SynthShiftConfig, track: TrackSpec, method: MethodEntry) -> None:
    method.check_sensor(track.sensor, f"track {track.name}")
    if config.target_frames == "videos" and track.video_frames is None:
        raise InputError(f"track {track.name} has no videos: leave --target-frames out")
    if method.target == "pairs" and config.target_frames != "videos":
        raise InputError(f"method {method.name} takes {method.needs}: give --target-frames videos")


def _at_equal_steps(preset: Preset) -> Preset:
    """With a mean teacher of the same steps and batches as the methods on videos beside it."""
    teacher = preset.methods.get("mean-teacher")
    labels = preset.methods.get("integrated-pseudo-labels")
    if not isinstance(teacher, MeanTeacherConfig) or not isinstance(labels, GeometricReconstructionConfig):
        return preset
    teacher = replace(teacher, schedule=labels.schedule, batch_size=labels.batch_size)
    return replace(preset, methods={**preset.methods, "mean-teacher": teacher})


def _shared_run(config: SynthShiftConfig, preset: Preset, hardware: Hardware) -> Run | None:
    """The run of source model and upper bound, where several runs share them."""
    if config.shared is None:
        return None
    same = replace(config, method="mean-teacher", target_frames="stills", target_split="train", shared=None)
    return Run.create(config.shared, "shared", same, hardware, _shared_recipe(preset))


def _shared_recipe(preset: Preset) -> tuple[Any, ...]:
    """All that source model and upper bound depend on."""
    source_stages = [config.source_recipe() for config in preset.methods.values()]
    return (preset.network, preset.source, preset.methods.get("supervised-target"), *filter(None, source_stages))


def render_sets(config: SynthShiftConfig, preset: Preset, method: MethodEntry) -> SynthShiftSets:
    """Render all sets of a seed; the test sets are the same for all seeds."""
    track, sizes = TRACKS[config.track], preset.data
    assert sizes.source is not None
    assert sizes.target is not None
    assert sizes.test is not None
    videos = config.target_frames == "videos"
    images = sizes.source + sizes.target * (3 if videos else 1) + 2 * sizes.test
    with rendering_progress(images) as on_progress:
        loader = RenderLoader(
            track=config.track,
            preset=preset,
            labels=frozenset(method.source_labels),
            sets=config.sets,
            on_progress=on_progress,
        )
        source_seed, target_seed = 2 * config.seed, 2 * config.seed + 1
        target_videos = source_videos = None
        if videos:
            assert track.video_frames is not None
            frames = sizes.target - sizes.target % track.video_frames
            target_videos = loader.load(config.target_domain, frames, target_seed, track.video_frames)
            source_videos = loader.load(track.source, frames, source_seed, track.video_frames)
        stills = loader.load(config.target_domain, sizes.target, target_seed)
        sets = SynthShiftSets(
            source=loader.load(track.source, sizes.source, source_seed),
            source_videos=source_videos,
            target=stills if target_videos is None else target_videos,
            upper_bound=stills,
            test_source=loader.load(track.source, sizes.test, TEST_SEED),
            test_target=loader.load(config.target_domain, sizes.test, TEST_SEED + 1),
        )
    return sets if config.annotation_gap == 0 else _with_gap(sets, track, config.annotation_gap)


def _with_gap(sets: SynthShiftSets, track: TrackSpec, factor: float) -> SynthShiftSets:
    """The sets with a planted gap: all source labels follow another convention."""

    def moved(batch: LabelledBatch) -> LabelledBatch:
        return with_gap(batch, track.skeleton, factor)

    videos = sets.source_videos
    return replace(sets, source=sets.source.map(moved), source_videos=None if videos is None else videos.map(moved))


def _renamed_test(test: LabelledBatch) -> LabelledBatch:
    """With sequences of other names than those of the training frames."""
    return replace(test, sequence=tuple(f"test-{name}" for name in test.sequence or test.key))


def _data(config: SynthShiftConfig, track: TrackSpec, preset: Preset, sets: SynthShiftSets) -> ExperimentData:
    labelled = sets.adapted_to(config.target_split)
    target = labelled.map(lambda batch: batch.unlabelled())
    joints_m = sets.source.without_images()[:_SOURCE_STATISTICS].joints_m
    assert joints_m is not None
    test = sets.test_target.all()
    hand = selection = frame_labels = None
    if isinstance(preset.network, DepthHandConfig):
        hand = load_parametric_hand(None, preset.network.shape_size)
    else:
        compared = _evenly(labelled, SELECTION_FRAMES)
        selection, frame_labels = SelectionData(compared.unlabelled(), compared), _evenly(labelled, _MEASURED)
    return _SynthShiftData(
        source=InMemoryFrames(sets.source, config.seed, sets.source_videos),
        target=InMemoryFrames(target, config.seed + 1, target),
        source_joints_m=joints_m,
        evaluation=InMemoryEvaluation(
            test.unlabelled(), truth_of(test, track.skeleton.joints), track.protocol, preset.cube_m
        ),
        selection=selection,
        labelled_target=InMemoryFrames(sets.upper_bound, config.seed),
        frame_labels=frame_labels,
        target_labels=labelled.without_images(),
        hand=hand,
        remarks=(
            f"Source: labelled {track.source} renders. Target: unlabelled {config.target_domain} renders. "
            "Scored on test renders of the target.",
        ),
    )


@dataclass(frozen=True)
class _SynthShiftData(ExperimentData):
    target_labels: LabelledBatch | None = None  # of all target frames, without images

    def pair_labels(self, config: object) -> LabelledBatch | None:
        """The labels of all target frames."""
        return self.target_labels


def _evenly(dataset: InMemoryDataset[LabelledBatch], count: int) -> LabelledBatch:
    return dataset.take(torch.arange(0, len(dataset), max(1, len(dataset) // count))[:count])


def _outcome(outcome: Outcome, track: TrackSpec, sets: SynthShiftSets) -> SynthShiftOutcome:
    test_source, test = sets.test_source.all(), sets.test_target.all()
    on_source = InMemoryEvaluation(
        test_source.unlabelled(), truth_of(test_source, track.skeleton.joints), track.protocol
    )
    predictor = outcome.predictions["source_only"].predictor
    predicted = on_source.predict({"source_only": predictor})["source_only"].keypoints
    score = on_source.score(predicted)
    assert score is not None
    gaps: dict[Role, float] = {}
    if test.image is not None:
        for role, found in outcome.predictions.items():
            assert found.keypoints.uv_px is not None
            gaps[role] = residual_gap(torch.from_numpy(found.keypoints.uv_px), test, track.skeleton)
    return SynthShiftOutcome(
        record=outcome.record,
        trained=outcome.trained,
        predictions=outcome.predictions,
        training_minutes=outcome.training_minutes,
        track=track,
        source_on_source=score.number(track.metric),
        residual_gap=gaps,
    )
