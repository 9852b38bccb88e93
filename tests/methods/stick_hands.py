"""Geometric reconstruction in seconds: hands with rendered poses, drawn as coloured segments in 32 px."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from geometry.source_poses import source_poses
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructorConfig
from posebridge.methods.geometric_reconstruction.method import GeometricReconstruction
from posebridge.methods.geometric_reconstruction.perceptual_features import EncoderFeatures
from posebridge.methods.geometric_reconstruction.pretraining import PretrainingConfig
from posebridge.methods.geometric_reconstruction.reconstructor_training import ReconstructionConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.networks.warping import WarpingConfig
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run, SelectionPlan
from posebridge.training.stage import Stage
from posebridge.training.style import FourierStyle
from training.dots import MAPS, ONE_CPU, PLAIN, UNMOVED
from training.stick_figures import draw, texture

SIDE, FRAMES = 32, 8
FOCAL = 5.0 * SIDE * 0.4  # at five hand widths, hands fill most of the image
STEPS = 3
SCHEDULE = Schedule(steps=STEPS, learning_rate=1e-3, decay="none")
MILD = GeometryConfig(rotation_deg=20.0, shear_deg=5.0, translation=0.03, scale=(0.9, 1.1))
RECONSTRUCTOR = FrameReconstructorConfig(
    grid_stride=2,
    bone_sigma=0.8,
    warping=WarpingConfig(hourglass=HourglassConfig(blocks=2, channels=4, most_channels=8), mask_prior=2.0),
    generator=GeneratorConfig(channels=4, most_channels=8, residual_blocks=1),
)
RECONSTRUCTION = ReconstructionConfig(
    pairs=PairConfig((1, 4)),
    reconstructor=RECONSTRUCTOR,
    features=EncoderFeatures(levels=2),
    schedule=SCHEDULE,
    batch_pairs=2,
)
CONFIG = GeometricReconstructionConfig(
    pretraining=PretrainingConfig(schedule=SCHEDULE, batch_size=4),
    style=FourierStyle(),
    reconstruction=RECONSTRUCTION,
    warm_start=SCHEDULE,
    schedule=replace(SCHEDULE, steps=2 * STEPS),
    batch_size=4,
    geometry=MILD,
    appearance=PLAIN,
    occlusion=UNMOVED,
    average_decay=0.9,
)
ALONE = replace(CONFIG, reconstruction=None)


def camera(count: int) -> Camera:
    middle = (SIDE - 1) / 2
    return Camera(torch.tensor([[FOCAL, 0, middle], [0, FOCAL, middle], [0, 0, 1]]).repeat(count, 1, 1))


def before_the_camera(joints: Tensor) -> Tensor:
    """Hands with random rotations and the same size in the image."""
    generator = torch.Generator().manual_seed(len(joints))
    R, _ = torch.linalg.qr(torch.randn(len(joints), 3, 3, generator=generator))
    joints = (joints - joints.mean(1, keepdim=True)) @ (R * torch.linalg.det(R)[:, None, None]).mT
    joints = 0.1 * joints / joints.abs().amax((1, 2), keepdim=True)
    return joints + torch.tensor([0.0, 0.0, 0.5])


@lru_cache
def labelled(count: int = 48) -> LabelledBatch:
    """The labelled source."""
    joints_m = before_the_camera(source_poses(HAND21.name)[:count])
    return pictures(joints_m, texture(count, SIDE, torch.Generator().manual_seed(1)))


@lru_cache
def filmed(videos: int = 3) -> LabelledBatch:
    """The target with its labels: closing hands, each video with its own background, brighter than the source's."""
    poses = before_the_camera(source_poses(HAND21.name)[100 : 100 + 2 * videos])
    share = torch.linspace(0, 0.6, FRAMES).view(1, -1, 1, 1)
    joints_m = ((1 - share) * poses[:videos, None] + share * poses[videos:, None]).flatten(0, 1)
    ground = texture(videos, SIDE, torch.Generator().manual_seed(2)).repeat_interleave(FRAMES, 0)
    batch = pictures(joints_m, 0.6 * ground + 0.4)
    return replace(
        batch,
        sequence=tuple(f"video-{i // FRAMES}" for i in range(len(batch))),
        frame=torch.arange(len(batch)) % FRAMES,
        T_crop_file=torch.eye(3).repeat(len(batch), 1, 1),
    )


def pictures(joints_m: Tensor, ground: Tensor) -> LabelledBatch:
    count = len(joints_m)
    uv_px = camera(count).project(joints_m)
    present = torch.ones(count, len(HAND21), dtype=torch.bool)
    return LabelledBatch(
        image=draw(uv_px, HAND21, ground, 0.02),
        key=tuple(str(i) for i in range(count)),
        camera=camera(count),
        uv_px=uv_px,
        valid=present,
        visible=present,
        joints_m=joints_m,
    )


def network(seed: int = 0) -> PoseResNet:
    config = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8, joints=21, skips=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PoseResNet(config, MAPS)


def context(frames: UnlabelledBatch | None = None, **changes) -> Context:
    source, target = (
        InMemoryDataset([labelled()]),
        InMemoryDataset([filmed().unlabelled() if frames is None else frames]),
    )
    made = Context(
        new_network=network,
        skeleton=HAND21,
        source=InMemoryFrames(source, seed=3, videos=InMemoryDataset([filmed()])),
        target=InMemoryFrames(target, seed=4, videos=target),
        selection=None,
        seed=5,
    )
    return replace(made, **changes)


def plan() -> SelectionPlan:
    """Checkpoint selection by a value that every step changes."""
    return SelectionPlan(lambda network: float(next(network.parameters()).abs().sum()), evaluations=2)


def train(
    folder: Path,
    config: GeometricReconstructionConfig = CONFIG,
    watch: Callable[[Stage], object] = lambda stage: None,
    **changes,
) -> list[Stage]:
    """Train all stages of the method; ``watch`` is called with each before."""
    run, stages = Run(folder, ONE_CPU, checkpoint_seconds=0), []
    for number, (stage, selection) in enumerate(GeometricReconstruction(config).stages(context(**changes)), 1):
        watch(stage)
        run.train(number, stage, selection)
        stages.append(stage)
    return stages


def with_reconstructor(**changes) -> GeometricReconstructionConfig:
    """The config with changes of the reconstructor."""
    return replace(CONFIG, reconstruction=replace(RECONSTRUCTION, reconstructor=replace(RECONSTRUCTOR, **changes)))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Names of parameters and statistics that differ from ``before``."""
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
