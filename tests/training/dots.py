"""A pose problem that trains in seconds: red, green and blue dots, and a network that finds them by construction."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.occlude import OcclusionConfig
from posebridge.methods.base import Method, Stages
from posebridge.methods.mean_teacher.adaptation import Adaptation
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_network import HeatmapNetwork
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.rendering.photometry import AppearanceConfig
from posebridge.representations.heatmaps import encode_gaussian, map_from_image
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.options import Hardware
from posebridge.training.run import Run
from posebridge.training.source_training import SourceTraining, SourceTrainingConfig
from posebridge.training.stage import Stage
from posebridge.training.style import FourierStyle

SIDE = 32
SKELETON = Skeleton("dots", ("red", "green", "blue"), {"green": "red", "blue": "red"}, reference_bone=("red", "green"))
MAPS = PoseMaps("softmax", sigma=1.0)
PLAIN = AppearanceConfig(**dict.fromkeys(
    ("brightness", "contrast", "saturation", "hue", "gain", "gamma",
     "blur_probability", "motion_probability", "noise_probability"), 0.0,
))  # fmt: skip
VIEWS = GeometryConfig(rotation_deg=40.0, shear_deg=10.0, translation=0.04, scale=(0.85, 1.15))
UNMOVED = OcclusionConfig(probability=0.0)
ONE_CPU = Hardware(accelerator="cpu", precision="32")
SCHEDULE = Schedule(steps=12, learning_rate=3e-3, decay="cosine", warmup=0.2, weight_decay=1e-2, clip_norm=1.0)


def draw_dots(uv_px: Tensor, side: int = SIDE, ground: float = 0.0) -> Tensor:
    """Gaussian dots at (B, 3, 2), one per channel, as images (B, 3, side, side)."""
    maps, _ = encode_gaussian(uv_px, side, side, 0.06 * side, "peak")
    return ground + (1 - ground) * maps


def dots(count: int, seed: int, side: int = SIDE, ground: float = 0.0) -> LabelledBatch:
    """Dots in the middle of the image, at least a sixth of the side apart."""
    generator = torch.Generator().manual_seed(seed)
    uv = side * (0.25 + 0.5 * torch.rand(20 * count, 3, 2, generator=generator))
    distance = torch.stack([(uv[:, a] - uv[:, b]).norm(dim=-1) for a, b in ((0, 1), (0, 2), (1, 2))]).amin(0)
    uv = uv[distance > side / 6][:count]
    assert len(uv) == count
    depth = 1 + 0.1 * torch.rand(count, 3, 1, generator=generator)
    present = torch.ones(count, 3, dtype=torch.bool)
    return LabelledBatch(
        image=draw_dots(uv, side, ground),
        key=tuple(f"{seed}-{i}" for i in range(count)),
        uv_px=uv,
        valid=present,
        visible=present,
        joints_m=torch.cat([(uv - side / 2) / side, depth], dim=-1),
    )


class Finder(HeatmapNetwork):
    """Heat maps (logits) with peaks at the brightest point of each channel; depths increase by 0.1 per joint."""

    maps = MAPS

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm2d(3)  # unused, except for its statistics

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.norm(images)
        size = [side // 2 for side in images.shape[-2:]]
        heat, inside = encode_gaussian(
            map_from_image(centroids(images), images.shape[-2:], size), *size, MAPS.sigma, "sum"
        )
        assert inside.all()
        depth = torch.arange(heat.shape[1]).view(1, -1, 1, 1) / 10
        return self.scale * heat.clamp_min(1e-20).log(), depth.expand_as(heat)


class RecordingFinder(Finder):
    """Finds the dots, and records its images."""

    def __init__(self):
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.shown.append(images)
        return super().forward(images)


def centroids(images: Tensor) -> Tensor:
    """Centroid of each channel's brightness, (B, 3, 2) in pixels."""
    weight = (images / images.amax(dim=(-2, -1), keepdim=True)).pow(4)
    weight = weight / weight.sum(dim=(-2, -1), keepdim=True)
    u = (weight.sum(dim=-2) * torch.arange(images.shape[-1])).sum(dim=-1)
    v = (weight.sum(dim=-1) * torch.arange(images.shape[-2])).sum(dim=-1)
    return torch.stack([u, v], dim=-1)


def small_network(seed: int = 0) -> PoseResNet:
    config = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8, joints=3, skips=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PoseResNet(config, MAPS)


def disturb(stage: Stage, events: Mapping[int, Callable[[], object]]) -> list[int]:
    """Call ``events`` within their steps, after the forward pass. Returns the list of started steps, which grows."""
    undisturbed, begun = stage.terms, []

    def terms(batches, generator):
        begun.append(stage.global_step)
        values = undisturbed(batches, generator)
        events.get(begun[-1], lambda: None)()
        return values

    stage.terms = terms
    return begun


def crash() -> None:
    raise RuntimeError("power cut")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def context(selection=None, seed: int = 5, **changes) -> Context:
    """Dots on black as the source, and dots on grey as the target."""
    source, target = InMemoryDataset([dots(40, seed=1)]), InMemoryDataset([dots(24, seed=2, ground=0.3).unlabelled()])
    plain = Context(
        new_network=small_network,
        skeleton=SKELETON,
        source=InMemoryFrames(source, seed=3),
        target=InMemoryFrames(target, seed=4),
        selection=selection,
        seed=seed,
    )
    return replace(plain, **changes)


def all_stages(method: Method, source: SourceTrainingConfig | None, made: Context) -> Stages:
    """The source stages, then those of the method on the source model, as an experiment trains them."""
    for stage, selection in method.source_stages(source, made):
        yield stage, selection
        made = replace(made, source_network=stage.result())
    yield from method.stages(made)


def source_stage(made: Context, **changes) -> SourceTraining:
    config = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4, geometry=VIEWS)
    return SourceTraining(replace(config, **changes), made, made.new_network())


def adaptation_stage(made: Context, network: HeatmapNetwork | None = None, **changes) -> Adaptation:
    config = MeanTeacherConfig(
        schedule=SCHEDULE, batch_size=4, geometry=VIEWS, average_decay=0.7, teacher_views=2, style=FourierStyle(),
        source_to_target=0.5, target_to_source=0.5,
    )  # fmt: skip
    config = replace(config, **changes)
    style = config.style
    restyler = style.restyler() if isinstance(style, FourierStyle) else None
    return Adaptation(config, made, network or made.new_network(), restyler)


def with_trainer(stage, precision: Literal["32-true", "bf16-mixed"] = "32-true"):
    """Set the stage's trainer, so that its terms can be computed without a run."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    stage.trainer = L.Trainer(accelerator="cpu", precision=precision, **quiet)
    return stage


def files_of(folder: Path) -> tuple[bytes, str]:
    """Files of a finished stage: weights and metrics."""
    return (folder / "result.safetensors").read_bytes(), (folder / "metrics.csv").read_text()


def finished(folder: Path, stage, selection=None, hardware: Hardware = ONE_CPU):
    """Train to the end. Returns the report and the files."""
    run = Run(folder, hardware)
    report = run.train(1, stage, selection)
    return report, files_of(run.layout.stage(1, stage.name).folder)
