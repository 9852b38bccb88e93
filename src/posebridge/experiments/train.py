"""Train a method from a labelled dataset, or from renders, to another dataset, and score it on its test split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from posebridge.bodies.parametric_hand import check_mano_file
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.pairs import PairConfig
from posebridge.deployment.model_kinds import kind_of_spec
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.datasets import MOVING_CAMERA, SKELETONS, check_data, dataset_data
from posebridge.experiments.depth_datasets import depth_dataset_data, read_depth_target
from posebridge.experiments.depth_preset import depth_preset
from posebridge.experiments.presets.table import find_preset
from posebridge.experiments.run_outputs import RunOutputs
from posebridge.experiments.runner import Experiment, Outcome, run_experiment
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.registry import find_method
from posebridge.skeletons.hand import HAND21
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space


@dataclass(frozen=True)
class Transfer:
    """A published transfer: its datasets, by name."""

    source: str | None  # None: renders
    target: str
    method: str = "geometric-reconstruction"


# Lin et al., NeurIPS 2023, Tables 1 and 2; Ren et al., CVPR 2022, Table 4.
TRANSFERS: Mapping[str, Transfer] = {
    "rhd-to-h3d": Transfer("rhd", "h3d"),
    "rhd-to-mvhand": Transfer("rhd", "mvhand"),
    "surreal-to-human36m": Transfer("surreal", "human3.6m"),
    "surreal-to-3dpw": Transfer("surreal", "3dpw"),
    "renders-to-nyu": Transfer(None, "nyu", "multi-view-fusion"),
    "renders-to-icvl": Transfer(None, "icvl", "multi-view-fusion"),
    "renders-to-msra": Transfer(None, "msra", "multi-view-fusion"),
}


def run_train(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    """Train, choose, predict; leave model, predictions and record.

    Raises ``InputError`` before anything is trained where a dataset, its pairs of frames or weights are missing.
    """
    target = dataset_named(config.target.name)
    find_method(config.method).check_sensor(target.sensor, f"dataset {target.name}")
    if target.sensor == "depth":
        return _train_on_depth(config, folder, hardware)
    return _train_on_colour(config, folder, hardware)


def _train_on_colour(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    method, target = find_method(config.method), dataset_named(config.target.name)
    subject = target.subject or "hand"
    if config.source is not None and dataset_named(config.source.name).subject not in (subject, None):
        raise InputError(f"{config.source.name} and {config.target.name} show a hand and a body: choose two of a kind")
    preset = find_preset(f"datasets/{subject}-rgb", config.preset, method.name)
    preset = preset.keeping(method.name, "supervised-target").with_weights(
        config.encoder_weights, config.feature_weights
    )
    if config.target.name in MOVING_CAMERA:
        preset = preset.with_config(method.name, preset.config_of(method.name).with_moving_camera())
    check_space(folder, preset.space_mb)
    skipped = Run.unreadable(folder)
    data = dataset_data(config, method, preset, skipped, hardware.workers)
    check_data(data, _pairs(preset.config_of(method.name), method.target == "pairs"))
    spec = preset.spec(SKELETONS[subject], method.name, None, "anny")
    kind_of_spec(spec).build(spec)
    preset.keeping(method.name).check_weights()
    run = Run.create(folder, "train", config, hardware, preset)
    source = dataset_named(config.source.name).title if config.source else f"{config.domain} renders"
    experiment = Experiment(
        title=f"{source} to {target.title}, {preset.name}",
        method=method,
        preset=preset,
        skeleton=SKELETONS[subject],
        seed=config.seed,
        hardware=hardware,
        config=config,
    )
    outcome = run_experiment(experiment, data, run)
    RunOutputs.of(folder).save_skipped(len(data.evaluation.frames), data.skipped())
    return outcome


def _pairs(config: object, needed: bool) -> PairConfig | None:
    if needed and isinstance(config, GeometricReconstructionConfig) and config.reconstruction is not None:
        return config.reconstruction.pairs
    return None


def _train_on_depth(config: TrainConfig, folder: Path, hardware: Hardware) -> Outcome:
    method, target = find_method(config.method), dataset_named(config.target.name)
    if config.source is not None:
        raise InputError(f"depth of {target.name} is adapted to from renders: leave --source out")
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
    RunOutputs.of(folder).save_skipped(len(frames.dataset) + len(frames.test), noted)
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
