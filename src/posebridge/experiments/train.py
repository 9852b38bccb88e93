"""Train a method from a labelled dataset, or from renders, to another dataset, and score it on its test split."""

from dataclasses import fields
from pathlib import Path

from posebridge.bodies.parametric_hand import check_mano_file
from posebridge.data.datasets.registry import dataset_named
from posebridge.deployment.model_kinds import kind_of_spec
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.dataset_frames import SKELETONS
from posebridge.experiments.datasets import check_source, dataset_data, source_title
from posebridge.experiments.depth_datasets import depth_dataset_data, read_depth_target
from posebridge.experiments.depth_preset import depth_preset
from posebridge.experiments.preset import Preset
from posebridge.experiments.presets.table import find_preset
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, Outcome, run_experiment
from posebridge.experiments.tracks import colour_track
from posebridge.experiments.train_config import method_of, resolve, subject_shown
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.domains import find_domain
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space

MOVING_CAMERA = ("h3d", "3dpw")  # crops of H3D follow the hand, 3DPW was filmed by a phone
_OF_DEPTH = ("mano", "translate", "stacks")
_OF_COLOUR = ("source", "encoder_weights", "feature_weights")


def run_train(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    """Train, choose, predict; leave model, predictions and record.

    Raises ``InputError`` before anything is rendered or trained where a dataset, its pairs of frames or weights are
    missing, and for values that the target has no use for.
    """
    config = resolve(config)
    target = dataset_named(config.target.name)
    method_of(config).check_sensor(target.sensor, f"dataset {target.name}")
    Run.check(folder, "train", config, hardware)
    if config.source is not None:
        _refuse_unused(config, ("domain",), "the source is a dataset, so nothing is rendered")
    else:
        track = "hand-depth" if target.sensor == "depth" else colour_track(subject_shown(config)).name
        find_domain(track, config.domain)
    if target.sensor == "depth":
        return _train_on_depth(config, folder, hardware)
    return _train_on_colour(config, folder, hardware)


def colour_preset(config: TrainConfig) -> Preset:
    """The preset of a run on colour datasets. Raises ``InputError`` for a method or weights that it can't have."""
    method, target = method_of(config), dataset_named(config.target.name)
    preset = find_preset(f"datasets/{subject_shown(config)}-rgb", config.preset, method.name)
    preset = preset.keeping(method.name).with_weights(config.encoder_weights, config.feature_weights)
    if target.name not in MOVING_CAMERA:
        return preset
    return preset.with_config(method.name, preset.config_of(method.name).with_moving_camera())


def _train_on_colour(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    method, target, subject = method_of(config), dataset_named(config.target.name), subject_shown(config)
    _refuse_unused(config, _OF_DEPTH, f"{target.name} is colour")
    if method.target == "pairs" and not target.sequences:
        raise InputError(f"method {method.name} takes {method.needs}, and {target.name} has no videos")
    if method.role == "supervised_target" and config.target_split != "train":
        raise InputError(f"method {method.name} trains on labels of the training split: leave --target-split out")
    check_source(config, subject)
    target.check_labelled(config.target.options)  # the test split is scored
    preset, skeleton = colour_preset(config), SKELETONS[subject]
    check_space(folder, preset.space_mb)
    spec = preset.spec(skeleton, method.name, None, "anny")
    kind_of_spec(spec).build(spec)
    preset.check_weights()
    data = dataset_data(config, method, preset, Run.unreadable(folder), hardware.workers)
    run = Run.create(folder, "train", config, hardware, preset)
    experiment = Experiment(
        title=f"{source_title(config)} to {target.title}, {preset.name}",
        method=method,
        preset=preset,
        skeleton=skeleton,
        seed=config.seed,
        hardware=hardware,
        config=config,
    )
    outcome = run_experiment(experiment, data, run)
    RunOutputs(run.layout).save_skipped(len(data.evaluation.frames), data.skipped())
    return outcome


def _refuse_unused(config: TrainConfig, names: tuple[str, ...], reason: str) -> None:
    """Raise ``InputError`` where one of these fields has another value than its default."""
    for field in fields(config):
        if field.name in names and getattr(config, field.name) != field.default:
            raise InputError(f"leave --{field.name.replace('_', '-')} out: {reason}")


def _train_on_depth(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    method, target = method_of(config), dataset_named(config.target.name)
    _refuse_unused(config, _OF_COLOUR, f"{target.name} is depth, whose source is rendered")
    check_mano_file(config.mano)
    family = "datasets/hand-depth"
    preset = depth_preset(family, config.preset, method, translate=config.translate, stacks=config.stacks)
    check_space(folder, preset.space_mb)
    skipped = Run.unreadable(folder)
    frames = read_depth_target(config, preset, skipped, hardware.workers)
    own = preset.config_of(method.name).for_target(frames.dataset.without_images())
    preset = preset.with_config(method.name, own)
    run = Run.create(folder, "train", config, hardware, preset)
    noted = skipped.read()
    RunOutputs(run.layout).save_skipped(len(frames.dataset) + len(frames.test), noted)
    experiment = Experiment(
        title=f"renders to {target.title}, {config.preset}",
        method=method,
        preset=preset,
        skeleton=HAND21,
        seed=config.seed,
        hardware=hardware,
        config=config,
        metric="mean_error_mm",
        mano=config.mano,
    )
    return run_experiment(experiment, depth_dataset_data(config, method, preset, frames, noted), run)
