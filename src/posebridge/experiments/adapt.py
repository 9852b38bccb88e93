"""Adaptation from rendered hands or people to a user's own unlabelled images or video."""

from dataclasses import dataclass
from pathlib import Path

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig
from posebridge.deployment.model_file import LoadedModel, load_model
from posebridge.deployment.model_kinds import POSE, kind_of_spec
from posebridge.errors import InputError
from posebridge.evaluation.target_labels import labels_for
from posebridge.experiments.configs import AdaptConfig
from posebridge.experiments.data import ExperimentData, SelectionData, statistics_joints_m
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.preset import Preset
from posebridge.experiments.presets.table import find_preset
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, run_experiment
from posebridge.experiments.target import LoadedTarget, load_target
from posebridge.experiments.tracks import TrackSpec, colour_track
from posebridge.methods.registry import MethodEntry, find_method
from posebridge.synthesis.domains import find_domain
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space


@dataclass(frozen=True)
class _Start:
    """Checked inputs of a run, before anything is rendered or trained."""

    method: MethodEntry
    track: TrackSpec
    preset: Preset
    source_model: LoadedModel | None
    target: LoadedTarget
    frames: UnlabelledBatch  # all of the target
    truth: KeypointSet | None
    labelled: LabelledBatch | None  # the same frames with the truth


def run_adapt(config: AdaptConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, predict; leave model, predictions and record. Raises ``InputError`` for bad input at once."""
    Run.check(folder, "adapt", config, hardware)
    start = _start(config, folder)
    run = Run.create(folder, "adapt", config, hardware, start.preset)
    outputs = RunOutputs.of(folder)
    outputs.save_skipped(len(start.target.dataset), start.target.skipped)
    for note in start.target.notes():
        print(note)
    if start.target.sequences is not None:
        outputs.save_sequences(start.target.sequences)
    experiment = Experiment(
        title=f"{config.target.path.name}, from {config.domain} renders",
        method=start.method,
        preset=start.preset,
        skeleton=start.track.skeleton,
        seed=config.seed,
        hardware=hardware,
        config=config,
        source_model=start.source_model,
    )
    return run_experiment(experiment, _data(config, start), run).record


def _start(config: AdaptConfig, folder: Path) -> _Start:
    """Read and check all inputs. Raises ``InputError`` for those that can't be used."""
    method, track, pairs = find_method(config.method), colour_track(config.subject), PairConfig(config.stride)
    method.check_sensor(track.sensor, "the target of adapt")
    preset = find_preset(f"adapt/{config.subject}", config.preset, method.name).keeping(method.name)
    check_space(folder, preset.space_mb)
    find_domain(track.name, config.domain)
    preset = preset.with_weights(config.encoder_weights, config.feature_weights)
    model = None if config.source is None else _load_source(config, config.source, track)
    if model is not None:
        preset = preset.with_spec(model.spec)
    _check_weights(preset, track, model)
    truth = None if config.truth is None else KeypointSet.load(config.truth)
    needed = pairs if method.target == "pairs" else None
    target = load_target(config.target, preset.size_px, track.skeleton, needed)
    frames = target.dataset.all()
    method_config = preset.config_of(method.name).with_pairs(pairs)
    if target.camera_moves:
        method_config = method_config.with_moving_camera()
    preset = preset.with_config(method.name, method_config.for_target(target.dataset.without_images()))
    labelled = None if truth is None else labels_for(frames, truth, track.skeleton)
    return _Start(method, track, preset, model, target, frames, truth, labelled)


def _load_source(config: AdaptConfig, path: Path, track: TrackSpec) -> LoadedModel:
    model = load_model(path, POSE)
    if model.spec.skeleton != track.skeleton.name:
        wanted = f"this run needs {track.skeleton.name}: give a model of the --subject"
        raise InputError(f"{path} predicts {model.spec.skeleton}, and {wanted}")
    if model.spec.cube_m is not None:
        raise InputError(f"{path} takes depth, and this run trains on colour: give a model of colour images")
    if config.encoder_weights is not None:
        raise InputError(f"{path} brings its own encoder: leave --encoder-weights out")
    return model


def _check_weights(preset: Preset, track: TrackSpec, model: LoadedModel | None) -> None:
    """Load all weights once before anything is rendered. Raises ``InputError`` where they can't be had."""
    if model is None:
        spec = preset.spec(track.skeleton, "source-only", None, "anny")
        kind_of_spec(spec).build(spec)
    preset.check_weights()


def _data(config: AdaptConfig, start: _Start) -> ExperimentData:
    source, videos = _render(config, start)
    return ExperimentData(
        source=InMemoryFrames(source, config.seed, videos),
        target=start.target.frames(config.seed + 1),
        source_joints_m=statistics_joints_m(source),
        evaluation=InMemoryEvaluation(start.frames, start.truth, start.track.protocol),
        selection=SelectionData(start.frames, start.labelled),
        frame_labels=start.labelled,
        unusable=start.target.skipped,
        remarks=start.target.notes(),
    )


def _render(
    config: AdaptConfig, start: _Start
) -> tuple[InMemoryDataset[LabelledBatch], InMemoryDataset[LabelledBatch] | None]:
    """The source's images, and videos where the method trains on them."""
    sizes, track = start.preset.data, start.track
    count = sizes.source if start.source_model is None else sizes.source_with_model
    on_videos = start.preset.config_of(start.method.name).source_videos
    video_frames = sizes.source_video_frames if on_videos else 0
    assert count is not None
    assert video_frames is not None
    with rendering_progress(count + video_frames) as on_progress:
        loader = RenderLoader(
            track=track.name,
            preset=start.preset,
            labels=frozenset(start.method.source_labels),
            on_progress=on_progress,
        )
        stills = loader.load(config.domain, count, config.seed)
        if video_frames == 0:
            return stills, None
        return stills, loader.load(config.domain, video_frames, config.seed, track.video_frames)
