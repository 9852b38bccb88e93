"""Which randomisations matter on real images: source-only models, trained on street renders without one of them.

python benchmarks/realism.py --images DIR --labels labels.npz --hand left --seeds 1 --json FILE

Each variant is ``street`` with one field as ``studio`` has it. Nothing of the real images enters training or chooses a
checkpoint; they are only scored.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.streams import ShuffledStream
from posebridge.data.target import TargetConfig, open_target
from posebridge.deployment.model_spec import PoseSpec
from posebridge.deployment.predictor import PosePredictor
from posebridge.evaluation.evaluate import evaluate
from posebridge.methods.source_only import SourceOnly, SourceOnlyConfig
from posebridge.networks.pose_network import PoseNetwork
from posebridge.recipes.hand_rgb import SMALL
from posebridge.recipes.pipeline import joints_of_source, network_maker, predict, train
from posebridge.recipes.track import load_renders
from posebridge.representations.pose25d import reference_length
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.hand_domains import STREET, STUDIO, HandDomain
from posebridge.synthesis.stream import Samples
from posebridge.training.context import Context
from posebridge.training.optimisers import Schedule
from posebridge.training.options import Hardware
from posebridge.training.run import Run

_IMAGE_SIDE_PX = 256.0


def variants() -> dict[str, HandDomain]:
    """Street, studio, and street with one randomisation after the other as in the studio."""
    looks, plain = STREET.skin, STUDIO.skin
    return {
        "street": STREET,
        "studio": STUDIO,
        "without clutter": replace(STREET, backgrounds=STUDIO.backgrounds),
        "without poses": replace(STREET, poses=STUDIO.poses),
        "without viewpoints": replace(STREET, viewpoints=STUDIO.viewpoints),
        "without shapes": replace(STREET, shapes=STUDIO.shapes),
        "without skins": replace(STREET, skin=replace(looks, tone=plain.tone, texture=plain.texture)),
        "without sleeves": replace(STREET, skin=replace(looks, sleeve_share=plain.sleeve_share)),
        "without lights": replace(STREET, lights=STUDIO.lights),
        "without occluders": replace(STREET, occluders=STUDIO.occluders),
        "without sensor": replace(STREET, sensor=STUDIO.sensor),
    }


@dataclass(frozen=True)
class Benchmark:
    """Train one source-only model a variant and seed, score it on labelled real images."""

    images: Path
    """Folder of the real images."""

    labels: Path
    """Their labels.npz."""

    hand: Literal["left", "right"] = "left"
    """The hand that all of them show."""

    seeds: int = 1
    """Number of seeds."""

    first_seed: int = 0
    """The first of them."""

    steps: int = 1_000
    """Training steps of each model."""

    samples: int = 6_000
    """Renders that each model learns from."""

    only: str = ""
    """A part of the names of the variants to run; all if empty."""

    out: Path = Path("runs/realism")
    """Folder of the runs."""

    json: Path | None = None
    """Where the rows go."""

    hardware: Hardware = field(default_factory=Hardware)


def run(config: Benchmark) -> list[dict[str, Any]]:
    real = InMemoryDataset(open_target(TargetConfig(config.images, hand=config.hand, size_px=SMALL.size_px))).all()
    truth = KeypointSet.load(config.labels)
    rows = []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for name, domain in variants().items():
            if config.only not in name:
                continue
            network, length_m = train_on(domain, name, seed, config)
            spec = PoseSpec(SMALL.network, SMALL.maps, HAND21.name, SMALL.size_px, length_m, "source_only")
            score = evaluate(predict(PosePredictor(spec, network), real), truth, _IMAGE_SIDE_PX)
            rows.append({"variant": name, "seed": seed, "pck_005": score.pck_005, "error_px": score.mean_error_px})
            print(json.dumps(rows[-1]), flush=True)
            if config.json is not None:
                config.json.write_text(json.dumps(rows, indent=1))
    return rows


def train_on(domain: HandDomain, name: str, seed: int, config: Benchmark) -> tuple[PoseNetwork, float]:
    """A source-only network, and the mean length of the reference bone in metres."""
    samples = load_renders(Samples(domain, SMALL.size_px, seed).chunks(config.samples), SMALL.maps, lambda count: None)
    schedule: Schedule = replace(SMALL.source.schedule, steps=config.steps)
    source = replace(SMALL.source, schedule=schedule)

    def stream(batch_size: int) -> ShuffledStream:
        return ShuffledStream(samples, batch_size, seed)

    context = Context(
        new_network=network_maker(SMALL.network, SMALL.maps, seed),
        skeleton=HAND21,
        source=stream,
        target=stream,
        selection=None,
        seed=seed,
        workers=0,
    )
    folder = config.out / f"{name.replace(' ', '-')}-{seed}"
    left = train(
        Run.create(folder, "realism", config, config.hardware, source),
        1,
        SourceOnly(SourceOnlyConfig(source)).stages(context),
    )
    return left.network, reference_length(joints_of_source(samples), HAND21).mean().item()


def table(rows: list[dict[str, Any]]) -> str:
    """Mean over seeds, and the change against street, paired by seed."""
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
    print(table(run(tyro.cli(Benchmark))))
