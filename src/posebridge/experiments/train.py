"""Train a method from a labelled dataset, or from renders, to another dataset, and score it on its test split."""

from pathlib import Path

from posebridge.bodies.parametric_hand import check_mano_file
from posebridge.data.datasets.registry import dataset_named
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.datasets import dataset_data
from posebridge.experiments.depth_datasets import depth_dataset_data
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, Outcome, run_experiment
from posebridge.experiments.tracks import TrackSpec, track_of
from posebridge.experiments.train_config import (
    PUBLISHED_JOINTS,
    check_fit,
    joints_of,
    method_of,
    resolve,
    source_title,
    subject_shown,
)
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.synthesis.domains import find_domain
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space


def run_train(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    """Train, choose, predict; leave model, predictions and record.

    Raises ``InputError`` before anything is rendered or trained where a dataset, its pairs of frames or weights are
    missing, and for values that the target has no use for.
    """
    config = resolve(config)
    method, target = method_of(config), dataset_named(config.target.name)
    check_fit(config)
    Run.check(folder, "train", config, hardware)
    if config.source is None:
        find_domain(_track(config).name, config.domain)
    preset = train_preset(config)
    check_mano_file(config.mano)
    check_space(folder, preset.space_mb)
    preset.check_weights()
    build = depth_dataset_data if target.sensor == "depth" else dataset_data
    data = build(config, method, preset, Run.unreadable(folder), hardware.workers)
    preset = data.fitted(preset, method.name)
    run = Run.create(folder, "train", config, hardware, preset)
    experiment = Experiment(
        title=f"{source_title(config)} to {target.title}, {preset.name}",
        method=method,
        preset=preset,
        seed=config.seed,
        hardware=hardware,
        config=config,
        mano=config.mano,
    )
    outcome = run_experiment(experiment, data, run)
    RunOutputs(run.layout).print_skipped(data.skipped())
    return outcome


def train_preset(config: TrainConfig) -> Preset:
    """The preset of a resolved config. Raises ``InputError`` for a method, weights or stacks that it can't have."""
    method, target = method_of(config), dataset_named(config.target.name)
    preset = find_preset(_family(config), config.preset, method.name).keeping(method.name)
    preset = preset.with_weights(config.encoder_weights, config.feature_weights)
    preset = preset.with_depth_options(method.name, translate=config.translate, stacks=config.stacks)
    preset = preset.with_unconstrained(method.name, config.unconstrained)
    if not target.moving_camera:
        return preset
    return preset.with_config(method.name, preset.config_of(method.name).with_moving_camera())


def _track(config: TrainConfig) -> TrackSpec:
    return track_of(subject_shown(config), dataset_named(config.target.name).sensor)


def _family(config: TrainConfig) -> str:
    """The family of presets: colour and depth, and body joints other than the published tables', have their own."""
    joints, track = joints_of(config), _track(config).name
    return f"datasets/{track}" if joints in PUBLISHED_JOINTS else f"datasets/{track}-{joints}"
