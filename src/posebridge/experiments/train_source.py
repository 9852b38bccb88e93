"""A source model: trained on ``varied`` renders alone, measured on renders of other seeds and domains."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.record import Record, Score
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.frame_predictions import FramePredictions, predict_frames
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.model_spec import DepthHandSpec, ModelSpec, PoseSpec, skeleton_of
from posebridge.deployment.shipped_models import model_path
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.experiments.data import ExperimentData, statistics_joints_m
from posebridge.experiments.evaluation_sets import InMemoryEvaluation, truth_of
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.runner import Experiment, run_experiment
from posebridge.experiments.source_model import load_source_model
from posebridge.experiments.tracks import TRACKS, TrackSpec
from posebridge.methods.registry import MethodEntry, default_method, find_method
from posebridge.presets.preset import Change, Preset, unchanged
from posebridge.presets.table import find_preset
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space

SOURCE_DOMAIN = "varied"
_VALIDATION_SEED = 2_000_003  # apart from the seeds of training and test sets
_DOMAINS = (SOURCE_DOMAIN, "studio", "street")  # of the measured renders; no choice depends on the last two


def run_train_source(config: TrainSourceConfig, folder: Path, hardware: Hardware, change: Change = unchanged) -> Record:
    """Render, train, measure; leave model, record and report. ``change`` makes another preset, for comparisons.

    Raises ``InputError`` for numbers that are too small, and for a model to start from that has another network.
    """
    Run.check(folder, "train-source", config, hardware)
    track = TRACKS[config.name]
    method, preset = source_method(track), sized_preset(config, change)
    start = None if config.start is None else _start(model_path(config.start), preset)
    check_space(folder, preset.space_mb)
    run = Run.create(folder, "train-source", config, hardware, preset)
    experiment = Experiment(
        title=f"Source model {config.name}",
        method=method,
        preset=preset,
        seed=config.seed,
        hardware=hardware,
        config=config,
        initial_model=start,
        stops_at_source=True,
    )
    return run_experiment(experiment, _data(config, preset, track), run).record


def source_method(track: TrackSpec) -> MethodEntry:
    """The method whose source training a source model gets: that of multi-view fusion for depth, which has meshes."""
    return default_method("depth", "views") if track.sensor == "depth" else find_method("source-only")


def sized_preset(config: TrainSourceConfig, change: Change = unchanged) -> Preset:
    """The preset of a run, with its number of renders and steps.

    Raises ``InputError`` for renders that are not whole sets of views.
    """
    method = source_method(TRACKS[config.name]).name
    preset = change(find_preset(f"source/{config.name}", config.preset, method))
    if config.renders is not None:
        if config.renders % preset.data.views:
            raise InputError(f"{config.renders} renders are not whole sets of {preset.data.views} views")
        preset = replace(preset, data=replace(preset.data, source=config.renders))
    if config.steps is None:
        return preset
    if preset.source is None:
        return preset.with_config(method, preset.config_of(method).with_source_steps(config.steps))
    return replace(preset, source=replace(preset.source, schedule=replace(preset.source.schedule, steps=config.steps)))


def _start(path: Path, preset: Preset) -> LoadedModel:
    """The model whose weights training starts from."""
    model = load_source_model(path, preset.model)
    if _networks(model.spec) != _networks(preset.model):
        raise InputError(f"{path} has another network than preset {preset.name} of {preset.family}: leave --start out")
    return model


def _networks(spec: ModelSpec) -> tuple[object, ...]:
    """What decides the weights' shapes."""
    assert isinstance(spec, PoseSpec | DepthHandSpec)
    network = replace(spec.network, pretrained="none")
    return (network,) if isinstance(spec, PoseSpec) else (network, spec.fusion)


@dataclass(frozen=True)
class _SourceData(ExperimentData):
    others: Mapping[str, InMemoryEvaluation] = field(default_factory=dict)  # by domain

    def notes(self, predictions: FramePredictions) -> tuple[str, ...]:
        """The accuracy on renders of other domains."""
        scores = {
            domain: other.score(predict_frames(predictions.predictor, other.crops))
            for domain, other in self.others.items()
        }
        return (*self.remarks, *(f"On {domain} renders: {_numbers(score)}." for domain, score in scores.items()))


def _numbers(score: Score | None) -> str:
    assert score is not None
    in_space = "" if score.mean_error_mm is None else f"mean error {score.mean_error_mm:.1f} mm, "
    return f"PCK@0.05 {score.pck_005:.3f}, {in_space}after Procrustes {score.pa_mean_error_mm:.1f} mm"


def _data(config: TrainSourceConfig, preset: Preset, track: TrackSpec) -> _SourceData:
    sizes = preset.data
    assert sizes.source is not None
    assert sizes.test is not None
    with rendering_progress(sizes.source + sizes.test * len(_DOMAINS)) as on_progress:
        labels = frozenset(source_method(track).source_labels)
        loader = RenderLoader(track.name, preset.model, labels, config.sets, on_progress=on_progress)
        renders = loader.load(SOURCE_DOMAIN, sizes.source, config.seed)
        evaluations = dict(validation_sets(track, preset.model, sizes.test, loader))
    return _SourceData(
        source=InMemoryFrames(renders, config.seed),
        target=InMemoryFrames(renders.map(lambda batch: batch.unlabelled()), config.seed),
        source_joints_m=statistics_joints_m(renders),
        evaluation=evaluations.pop(SOURCE_DOMAIN),
        others=evaluations,
        hand=preset.model.hand_model(None),
        remarks=(
            f"Trained on {sizes.source} labelled {SOURCE_DOMAIN} renders of seed {config.seed}, scored on renders of "
            "another seed.",
        ),
    )


def validation_sets(
    track: TrackSpec, model: ModelSpec, count: int = 2_000, loader: RenderLoader | None = None
) -> Mapping[str, InMemoryEvaluation]:
    """``count`` renders of each domain for measuring, of seeds apart from those of training; ``varied`` first."""
    loader = loader or RenderLoader(track.name, model, frozenset({"joints"}))
    return {
        domain: _evaluation(loader.load(domain, count, _VALIDATION_SEED + place), track, model)
        for place, domain in enumerate(_DOMAINS)
    }


def _evaluation(renders: InMemoryDataset[LabelledBatch], track: TrackSpec, model: ModelSpec) -> InMemoryEvaluation:
    truth = truth_of(renders.without_images(), skeleton_of(model).joints)
    crops = renders.map(lambda batch: replace(batch.unlabelled(), T_world_cam=None))  # every view by itself
    return InMemoryEvaluation(crops, truth, track.protocol, model.cube_m)
