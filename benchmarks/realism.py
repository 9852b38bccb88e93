"""Source-only models, trained on street renders without one randomisation each, scored on real images.

python benchmarks/realism.py --images DIR --labels labels.npz --hand left --seeds 1 --json FILE

Each variant is ``street`` with one field as ``studio`` has it. The real images are not used in training or in the
choice of a checkpoint; they are only scored.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.crops import crop_frames
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.source_labels import rendered_source
from posebridge.data.target import TargetConfig, open_target
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate
from posebridge.evaluation.protocols import PCK_005
from posebridge.experiments.data import ExperimentData
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.experiments.runner import Experiment, run_experiment
from posebridge.methods.registry import find_method
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.synthesis.hand_domains import STREET, STUDIO, HandDomain
from posebridge.synthesis.stream import Samples
from posebridge.training.frames import InMemoryFrames
from posebridge.training.options import Hardware
from posebridge.training.run import Run

_METHOD = "source-only"
_IMAGE_SIDE_PX = 256.0


def variants() -> dict[str, HandDomain]:
    """Street, studio, and street with one randomisation each as in the studio."""
    skin, plain = STREET.skin, STUDIO.skin
    return {
        "street": STREET,
        "studio": STUDIO,
        "without clutter": replace(STREET, backgrounds=STUDIO.backgrounds),
        "without poses": replace(STREET, poses=STUDIO.poses),
        "without viewpoints": replace(STREET, viewpoints=STUDIO.viewpoints),
        "without shapes": replace(STREET, shapes=STUDIO.shapes),
        "without skins": replace(STREET, skin=replace(skin, tone=plain.tone, texture=plain.texture)),
        "without sleeves": replace(STREET, skin=replace(skin, sleeve_share=plain.sleeve_share)),
        "without lights": replace(STREET, lights=STUDIO.lights),
        "without occluders": replace(STREET, occluders=STUDIO.occluders),
        "without sensor": replace(STREET, sensor=STUDIO.sensor),
    }


@dataclass(frozen=True)
class Benchmark:
    """Train a source-only model for each variant and seed, and score it on labelled real images."""

    images: Path
    """Folder of the real images."""

    labels: Path
    """Their labels.npz."""

    hand: Literal["left", "right"] = "left"
    """The hand that all images show."""

    seeds: int = 1
    """Number of seeds."""

    first_seed: int = 0
    """The first seed."""

    steps: int = 1_000
    """Training steps of each model."""

    samples: int = 6_000
    """Renders that each model is trained on."""

    only: str = ""
    """Run the variants whose names contain this. Default: all."""

    out: Path = Path("runs/realism")
    """Folder of the runs."""

    json: Path | None = None
    """File to which the rows are written."""

    hardware: Hardware = field(default_factory=Hardware)


def run(config: Benchmark) -> list[dict[str, Any]]:
    """All rows."""
    preset = _preset(config)
    target = open_target(TargetConfig(config.images, hand=config.hand), preset.model.size_px)
    real = InMemoryDataset(crop for _, crop in crop_frames(target, target.crop))
    truth = KeypointSet.load(config.labels)
    rows = []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for name, domain in variants().items():
            if config.only not in name:
                continue
            keypoints = predictions_of_model(domain, name, seed, config, real)
            score = evaluate(keypoints, truth, _IMAGE_SIDE_PX)
            rows.append({"variant": name, "seed": seed, "pck_005": score.pck_005, "error_px": score.mean_error_px})
            print(json.dumps(rows[-1]), flush=True)
            if config.json is not None:
                config.json.write_text(json.dumps(rows, indent=1))
    return rows


def predictions_of_model(
    domain: HandDomain, name: str, seed: int, config: Benchmark, real: InMemoryDataset[UnlabelledBatch]
) -> KeypointSet:
    """The real images' keypoints, by a source-only model that is trained on renders of the domain."""
    preset, method = _preset(config), find_method(_METHOD)
    chunks = Samples(domain, preset.model.size_px, seed).chunks(config.samples)
    labels = frozenset(method.source_labels)
    renders: InMemoryDataset[LabelledBatch] = InMemoryDataset(rendered_source(chunk, labels) for chunk in chunks)
    joints_m = renders.without_images().joints_m
    assert joints_m is not None
    data = ExperimentData(
        source=InMemoryFrames(renders, seed),
        target=InMemoryFrames(renders.map(lambda batch: batch.unlabelled()), seed),
        source_joints_m=joints_m,
        evaluation=InMemoryEvaluation(real, None, PCK_005),
    )
    experiment = Experiment(
        title=f"Realism, {name}",
        method=method,
        preset=preset,
        seed=seed,
        hardware=config.hardware,
        config=config,
    )
    folder = config.out / f"{name.replace(' ', '-')}-{seed}"
    run = Run.create(folder, "realism", config, config.hardware, preset.source)
    return run_experiment(experiment, data, run).predictions["source_only"].keypoints


def _preset(config: Benchmark) -> Preset:
    preset = find_preset("synthshift/hand-rgb", "small", _METHOD).keeping(_METHOD)
    assert preset.source is not None
    schedule = replace(preset.source.schedule, steps=config.steps)
    return replace(preset, source=replace(preset.source, schedule=schedule))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: mean over seeds, and the difference to street of the same seeds."""
    base = {row["seed"]: row["pck_005"] for row in rows if row["variant"] == "street"}
    lines = ["| trained on | PCK@0.05 | against street |", "|---|---|---|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == name]
        mean = np.mean([row["pck_005"] for row in own])
        change = [row["pck_005"] - base[row["seed"]] for row in own if row["seed"] in base]
        error = f" ± {np.std(change, ddof=1) / len(change) ** 0.5:.3f}" if len(change) > 1 else ""
        lines.append(f"| {name} | {mean:.3f} | {np.mean(change):+.3f}{error} |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Benchmark))))
    except InputError as error:
        raise SystemExit(f"realism: {error}") from None
