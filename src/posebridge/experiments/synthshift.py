"""SynthShift, one seed of one track: source-only, adapted and target-supervised on the same test images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.roles import Role
from posebridge.data.annotation_gap import gap_joints, residual_gap
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.mask_store import MaskStore
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.data import MEASURED_FRAMES, ExperimentData, SelectionData, spread, statistics_joints_m
from posebridge.experiments.evaluation_sets import InMemoryEvaluation, truth_of
from posebridge.experiments.runner import Experiment, Outcome, run_experiment
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.experiments.tracks import TRACKS, TrackSpec
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.registry import MethodEntry, find_method, upper_bound
from posebridge.presets.preset import Change, Preset, unchanged
from posebridge.presets.table import find_preset
from posebridge.synthesis.domains import find_domain
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run


@dataclass(frozen=True)
class SynthShiftOutcome(Outcome):
    """The outcome of one seed, with numbers of SynthShift alone."""

    track: TrackSpec
    source_on_source: float  # the source model's score on its own domain
    residual_gap: Mapping[Role, float]  # of annotations, simulated or real; see annotation_gap.py

    def row(self) -> dict[str, float | str | int | None]:
        """The row of the benchmark's table; the track's metric on test images of the target."""
        measured = {role: score.number(self.track.protocol.metric) for role, score in self.scores.items()}
        return {
            "track": self.track.name,
            "method": self.record.method,
            "seed": self.record.provenance.seed,
            "metric": self.track.protocol.metric,
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
    change: Change = unchanged,
    sets: SynthShiftSets | None = None,
    run_config: Any = None,
) -> SynthShiftOutcome:
    """Render, train and score.

    ``change`` makes another preset, for ablations. Where it changes what source model and upper bound depend on, these
    are trained in the run's own folder. ``sets`` are rendered sets of the same config, where several runs share them.
    ``kind`` and ``run_config`` are written to config.yaml; None: ``config``.
    Raises ``InputError`` for a method that the track or its frames don't fit.
    """
    experiment = synthshift_experiment(config, hardware, change)
    run = Run.create(folder, kind, run_config or config, hardware, experiment.preset)
    sets = sets or render_sets(config, experiment.preset, experiment.method)
    data = synthshift_data(config, experiment.preset, sets)
    outcome = run_experiment(experiment, data, run, shared_run(config, experiment))
    return _outcome(outcome, TRACKS[config.track], sets)


def synthshift_experiment(config: SynthShiftConfig, hardware: Hardware, change: Change = unchanged) -> Experiment:
    """What is run. Raises ``InputError`` for a method that the track or its frames don't fit."""
    find_domain(config.track, config.target_domain)
    track, method, videos = TRACKS[config.track], find_method(config.method), config.target_frames == "videos"
    _check(config, track, method)
    preset = find_preset(track.preset_family(videos), config.preset, method.name)
    if config.true_masks and not preset.config_of(method.name).needs_target_masks:
        raise InputError(f"method {method.name} uses no masks of the target: leave true_masks out")
    preset = change(preset).keeping(method.name, upper_bound().name)
    return Experiment(
        title=f"SynthShift {track.name}, {preset.name}",
        method=method,
        preset=preset,
        seed=config.seed,
        hardware=hardware,
        config=config,
        upper_bound=upper_bound().name in preset.methods,
    )


def _check(config: SynthShiftConfig, track: TrackSpec, method: MethodEntry) -> None:
    method.check_sensor(track.sensor, f"track {track.name}")
    videos = config.target_frames == "videos"
    if videos and track.video_frames is None:
        raise InputError(f"track {track.name} has no videos: leave --target-frames out")
    if videos and config.target_split != "train":
        raise InputError(f"the test frames of track {track.name} are no videos: leave --target-frames out")
    if method.target == "pairs" and not videos:
        raise InputError(f"method {method.name} takes {method.needs}: give --target-frames videos")
    if config.annotation_gap:
        gap_joints(track.skeleton)


def shared_run(config: SynthShiftConfig, experiment: Experiment) -> Run | None:
    """The run of source model and upper bound, where several runs share them.

    Methods with source stages of their own share them in a folder of their name. None without ``config.shared``, and
    where the experiment's preset differs from the named one in what source model and upper bound depend on.
    """
    method, preset = experiment.method.name, experiment.preset
    recipe = _shared_recipe(preset, method)
    named = find_preset(preset.family, preset.name, method)
    if config.shared is None or recipe != _shared_recipe(named, method):
        return None
    folder, same = config.shared, replace(config, target_frames="stills", target_split="train", shared=None)
    if preset.config_of(method).source_recipe():
        folder = folder / method
    else:
        same = replace(same, method="source-only")
    if not experiment.upper_bound:
        same = replace(same, target_domain=SynthShiftConfig.target_domain)
    return Run.create(folder, "shared", same, experiment.hardware, recipe)


def _shared_recipe(preset: Preset, method: str) -> tuple[Any, ...]:
    """All that source model and upper bound depend on."""
    training = (preset.source, preset.methods.get(upper_bound().name), *preset.config_of(method).source_recipe())
    return (preset.model, preset.data, *training)


_AT_ONCE = 256  # frames


def synthshift_data(config: SynthShiftConfig, preset: Preset, sets: SynthShiftSets) -> ExperimentData:
    """The rendered sets as the data of a run."""
    track, labelled = TRACKS[config.track], sets.adapted_to(config.target_split)
    target = labelled.map(lambda batch: batch.unlabelled())
    selection = frame_labels = None
    if not preset.model.takes_depth_m:
        compared = spread(labelled, SELECTION_FRAMES)
        selection, frame_labels = SelectionData(compared.unlabelled(), compared), spread(labelled, MEASURED_FRAMES)
    return ExperimentData(
        source=InMemoryFrames(sets.source, config.seed, sets.source_videos),
        target=InMemoryFrames(target, config.seed + 1, target),
        source_joints_m=statistics_joints_m(sets.source),
        evaluation=_evaluation(sets.test_target, track, preset.model.cube_m),
        selection=selection,
        labelled_target=InMemoryFrames(sets.upper_bound, config.seed),
        frame_labels=frame_labels,
        target_masks=MaskStore.of_labels(labelled.batches(_AT_ONCE)) if config.true_masks else None,
        target_labels=labelled.without_images(),
        hand=preset.model.hand_model(None),
        remarks=(
            f"Source: labelled {track.source} renders. Target: unlabelled {config.target_domain} renders. "
            "Scored on test renders of the target.",
        ),
    )


def _evaluation(
    test: InMemoryDataset[LabelledBatch], track: TrackSpec, cube_m: float | None = None
) -> InMemoryEvaluation:
    truth = truth_of(test.without_images(), track.skeleton.joints)
    return InMemoryEvaluation(test.map(lambda batch: batch.unlabelled()), truth, track.protocol, cube_m)


def _outcome(outcome: Outcome, track: TrackSpec, sets: SynthShiftSets) -> SynthShiftOutcome:
    on_source = _evaluation(sets.test_source, track)
    predictor = outcome.predictions["source_only"].predictor
    predicted = on_source.predict({"source_only": predictor})["source_only"]
    score = on_source.score(predicted)
    assert score is not None
    gaps: dict[Role, float] = {}
    if (image := sets.test_target[0].image) is not None:
        uv_true_px = sets.test_target.without_images().uv_px
        assert uv_true_px is not None
        for role, found in outcome.predictions.items():
            assert found.keypoints.uv_px is not None
            uv_px = torch.from_numpy(found.keypoints.uv_px)
            gaps[role] = residual_gap(uv_px, uv_true_px, track.skeleton, image.shape[-1])
    return SynthShiftOutcome(
        record=outcome.record,
        trained=outcome.trained,
        predictions=outcome.predictions,
        training_minutes=outcome.training_minutes,
        track=track,
        source_on_source=score.number(track.protocol.metric),
        residual_gap=gaps,
    )
