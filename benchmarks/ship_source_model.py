"""Make the package data of a shipped model: weights in half precision, and the card with its measured accuracy.

python benchmarks/ship_source_model.py hand-rgb --runs runs/hand-rgb-0 runs/hand-rgb-1 --real IMAGES LABELS left

``--runs`` are the runs of ``train-source`` in the order in which each continued the one before; the last one's model is
shipped. Accuracy is that of the weights in half precision, on renders of seeds that no training used, and on the real
images where they are given.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from tyro.conf import Positional

from posebridge.contracts.config_file import load_config
from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.plain import to_plain
from posebridge.contracts.record import Score
from posebridge.contracts.record_file import load_record
from posebridge.contracts.run_layout import RunLayout
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.frame_predictions import predict_frames
from posebridge.deployment.model_file import load_model, save_model
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import skeleton_of
from posebridge.deployment.shipped_models import CARD, Accuracy, ModelCard, ShippedModel
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.target import load_target
from posebridge.experiments.tracks import TRACKS
from posebridge.experiments.train_source import SOURCE_DOMAIN, validation_sets

LARGEST_MB = 12
LIMITS = {
    "hand-rgb": (
        "one hand in a crop around it; left hands must be mirrored (--hand left)",
        "trained on renders alone: real skin, sleeves and light differ from them",
        "depth is relative to the wrist; its scale is that of a mean hand",
    )
}


@dataclass(frozen=True)
class Options:
    """What is shipped."""

    name: Positional[ShippedModel]
    """Name of the model."""

    runs: tuple[Path, ...]
    """Runs of train-source, each continued by the next."""

    real: tuple[str, str, str] | None = None
    """Folder of real images, their labels (.npz), and which hand they show: left or right."""

    real_name: str = "real photographs"
    """What the card calls them."""

    out: Path = Path("src/posebridge/models")
    """Folder of the package data."""


def ship(options: Options) -> ModelCard:
    """Write weights, description and card; return the card."""
    folder = options.out / options.name
    folder.mkdir(parents=True, exist_ok=True)
    trained = load_model(options.runs[-1], POSE)
    save_model(folder, trained.spec, trained.network.half())
    size_mb = (folder / "model.safetensors").stat().st_size / 1e6
    if size_mb > LARGEST_MB:
        raise SystemExit(f"the weights take {size_mb:.1f} MB, more than {LARGEST_MB}")
    card = _card(options, folder)
    write_atomically(folder / CARD, json_bytes(to_plain(card)))
    return card


def _card(options: Options, folder: Path) -> ModelCard:
    records = [load_record(run) for run in options.runs]
    configs = [load_config(RunLayout(run).config, {"train-source": TrainSourceConfig})[1] for run in options.runs]
    recipes = [record.provenance.config["recipe"] for record in records]
    sources = [recipe["source"] for recipe in recipes]
    renders = sum(recipe["data"]["source"] for recipe in recipes)
    return ModelCard(
        name=options.name,
        joints=f"{len(skeleton_of(load_model(folder, POSE).spec))} joints in pixels, with relative depth",
        data=f"{renders} {SOURCE_DOMAIN} renders of posebridge; no photograph, no label of a real image",
        recipe=tuple(_command(config, recipe) for config, recipe in zip(configs, recipes, strict=True)),
        image_steps=sum(source["batch_size"] * source["schedule"]["steps"] for source in sources),
        hours=round(sum(record.provenance.seconds for record in records) / 3600, 1),
        hardware=f"one thread of {_processor()}",
        accuracy=tuple(_accuracy(options, folder)),
        limits=LIMITS[options.name],
        licence="Apache-2.0",
    )


def _command(config: TrainSourceConfig, recipe: Mapping[str, Any]) -> str:
    start = "" if config.start is None else f" --start {Path(config.start).name}"
    sizes = f"--renders {recipe['data']['source']} --steps {recipe['source']['schedule']['steps']}"
    return f"posebridge train-source {config.name} {sizes} --seed {config.seed}{start}"


def _accuracy(options: Options, folder: Path):
    """Rows of the card, ``varied`` first."""
    model = load_model(folder, POSE)
    predictor, track = model.predictor(), TRACKS[options.name]
    for domain, evaluation in validation_sets(track, model.spec).items():
        yield _row(f"{domain} renders of other seeds", evaluation.score(predict_frames(predictor, evaluation.crops)))
    if options.real is not None:
        images, labels, hand = options.real
        target = TargetConfig(Path(images), hand=hand)  # type: ignore[arg-type]
        frames = load_target(target, model.spec.size_px, track.skeleton, None).dataset
        evaluation = InMemoryEvaluation(frames, KeypointSet.load_labels(Path(labels)), track.protocol)
        yield _row(options.real_name, evaluation.score(predict_frames(predictor, frames)))


def _row(frames: str, score: Score | None) -> Accuracy:
    assert score is not None
    space = score.pa_mean_error_mm
    return Accuracy(
        frames=frames,
        count=score.n_frames,
        pck_005=round(score.pck_005, 4),
        mean_error_px=round(score.mean_error_px, 2),
        pa_mean_error_mm=None if space is None else round(space, 1),
    )


def _processor() -> str:
    """The processor's name, as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(ship(tyro.cli(Options)))
