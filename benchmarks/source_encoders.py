"""Encoders of source models that train for the same CPU time, compared on ``varied`` renders of other seeds.

python benchmarks/source_encoders.py --minutes 15 --seeds 2 --sets sets --out runs/encoders

First, a training step of each encoder is timed on one CPU thread, augmentation included, in both precisions; the
faster one is taken. Then each trains for as many steps as fit into the given minutes of CPU time. A run that is there
is read, so that an interrupted comparison continues.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from over_seeds import seeds_table
from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.record_file import load_record
from posebridge.deployment.model_kinds import POSE
from posebridge.deployment.model_spec import PoseSpec, skeleton_of
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.experiments.renders import RenderLoader
from posebridge.experiments.train_source import run_train_source
from posebridge.networks.encoder_decoder import Normalisation
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.training.options import Hardware
from posebridge.training.source_training import augmented
from posebridge.training.supervision import supervised_terms


@dataclass(frozen=True)
class Candidate:
    """An encoder, its deepest stride, and how it starts."""

    encoder: str
    stride: int
    pretrained: str = "none"
    rate: float = 1.0  # of the encoder, as a fraction of the rest's

    def change(self, preset: Preset, steps: int) -> Preset:
        """The preset with this encoder."""
        assert isinstance(preset.model, PoseSpec)
        assert preset.source is not None
        network = replace(
            preset.model.network,
            encoder=self.encoder,
            encoder_stride=self.stride,
            pretrained=self.pretrained,
            normalisation=Normalisation(0.5, 0.5) if "lite" in self.encoder else Normalisation(),
        )
        source = replace(preset.source, encoder_rate=self.rate, schedule=replace(preset.source.schedule, steps=steps))
        return replace(preset, model=replace(preset.model, network=network), source=source)


CANDIDATES: Mapping[str, Candidate] = {
    "ResNet-18, stride 16": Candidate("resnet18", 16),
    "EfficientNet-Lite0, stride 16": Candidate("tf_efficientnet_lite0", 16),
    "EfficientNet-Lite0, stride 16, ImageNet, rate 0.1": Candidate("tf_efficientnet_lite0", 16, "package", 0.1),
    "EfficientNet-Lite0, stride 32, ImageNet, rate 0.1": Candidate("tf_efficientnet_lite0", 32, "package", 0.1),
    "RegNetY-400MF, stride 16": Candidate("regnety_004", 16),
    "RegNetX-400MF, stride 32": Candidate("regnetx_004", 32),
    "MobileNetV4 small, stride 32": Candidate("mobilenetv4_conv_small", 32),
    "VoVNet-19b slim, stride 16": Candidate("ese_vovnet19b_slim", 16),
    "EfficientNet-EdgeTPU small, stride 16": Candidate("efficientnet_es", 16),
}


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    minutes: float = 15.0
    """CPU time of each training."""

    seeds: int = 2
    """Number of seeds."""

    renders: int = 20_000
    """Renders of each seed."""

    track: Literal["hand-rgb", "body-rgb"] = "hand-rgb"
    """What is rendered."""

    only: tuple[str, ...] = ()
    """Encoders to compare. Without it: all."""

    timings_only: bool = False
    """Only time the steps."""

    sets: Path = Path("sets")
    """Folder of rendered sets."""

    out: Path = Path("runs/encoders")
    """Folder of the runs."""

    hardware: Hardware = field(default_factory=Hardware)


def step_seconds(preset: Preset, batch: LabelledBatch, precision: str, repeats: int = 5) -> float:
    """CPU seconds of a step: augmentation, forward, backward, and the optimiser; the fastest of some."""
    assert isinstance(preset.model, PoseSpec)
    assert preset.source is not None
    config, joints = preset.source, skeleton_of(preset.model)
    network = POSE.build(preset.model).train()
    adam = torch.optim.AdamW(network.parameters(), lr=1e-4)
    generator, best = torch.Generator().manual_seed(0), float("inf")
    for _ in range(repeats):
        started = time.process_time()
        view = augmented(batch, config, generator, joints.mirror)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            heat, depth = network(view.rgb)
        terms = supervised_terms(network.maps, (heat.float(), depth.float()), view, joints)
        adam.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        adam.step()
        best = min(best, time.process_time() - started)
    return best


def compare(options: Options) -> str:
    """Markdown: step times, then accuracy on renders of other seeds."""
    torch.set_num_threads(1)
    names = options.only or tuple(CANDIDATES)
    preset = find_preset(f"source/{options.track}", "small", "source-only")
    loader = RenderLoader(options.track, preset.model, frozenset({"joints"}))
    assert preset.source is not None
    batch = loader.load("varied", preset.source.batch_size, 3_000_003).all()
    lines = ["| encoder | step, CPU s, 32 bits | bf16 | parameters, million |", "|---|---|---|---|"]
    seconds: dict[str, dict[str, float]] = {}
    for name in names:
        changed = CANDIDATES[name].change(preset, 1)
        seconds[name] = {precision: step_seconds(changed, batch, precision) for precision in ("32", "bf16")}
        assert isinstance(changed.model, PoseSpec)
        size = sum(parameter.numel() for parameter in POSE.build(changed.model).parameters()) / 1e6
        lines.append(f"| {name} | {seconds[name]['32']:.2f} | {seconds[name]['bf16']:.2f} | {size:.2f} |")
        print(lines[-1], flush=True)
    if options.timings_only:
        return "\n".join(lines)
    rows = []
    for seed in range(options.seeds):
        for name in names:
            precision = min(seconds[name], key=seconds[name].__getitem__)
            rows.append(_trained(name, seed, precision, seconds[name][precision], options))
            print(rows[-1], flush=True)
    return "\n".join(
        [*lines, "", seeds_table(rows, "encoder", ("PCK@0.05", "mean error, px", "PA error, mm", "steps"))]
    )


def _trained(name: str, seed: int, precision: str, step_s: float, options: Options) -> dict[str, Any]:
    folder = options.out / f"{name}-{seed}".replace(" ", "-").replace(",", "")
    if not (folder / "record.json").exists():
        steps = round(60 * options.minutes / step_s)
        config = TrainSourceConfig(options.track, renders=options.renders, seed=seed, sets=options.sets)
        hardware = replace(options.hardware, precision=precision)
        run_train_source(config, folder, hardware, lambda preset: CANDIDATES[name].change(preset, steps))
    record = load_record(folder)
    score = record.scores["source_only"]
    return {
        "encoder": name,
        "seed": seed,
        "PCK@0.05": score.pck_005,
        "mean error, px": score.mean_error_px,
        "PA error, mm": score.pa_mean_error_mm,
        "steps": record.provenance.config["recipe"]["source"]["schedule"]["steps"],
    }


if __name__ == "__main__":
    print(compare(tyro.cli(Options)))
