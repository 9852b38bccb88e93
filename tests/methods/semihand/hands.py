"""Hands made of circles with known radii, and a small network for them: 32 px."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.augment import GeometryConfig
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import uniform
from posebridge.geometry.joint_limits import CorrectionConfig
from posebridge.methods.semihand.adaptation import Adaptation, AdaptationConfig
from posebridge.methods.semihand.views import DiversityConfig, TermWeights
from posebridge.networks.circle_hand import CircleHand
from posebridge.networks.multi_task import MultiTaskNetwork
from posebridge.networks.pose_network import FeatureNetwork
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.rendering.photometry import OFF
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.hand import HAND21
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.registration import PoseRegistration
from training.dots import with_trainer
from training.teacher_poses import camera, true_poses

SIDE = 32
MAPS = PoseMaps("softmax", sigma=1.0)
RADIUS = 0.22  # of the circles, in units of the palm's size
VIEWS = DiversityConfig(GeometryConfig(rotation_deg=90.0, shear_deg=0.0, translation=0.05, scale=(0.8, 1.0)), OFF)
CONFIG = AdaptationConfig(
    schedule=Schedule(steps=6, learning_rate=1e-3, decay="steps", drops=(0.4,)),
    iterations=3,
    batch_size=4,
    weights=TermWeights(heat=10.0),
    diversity=VIEWS,
)


def circle_hand(radius: float = RADIUS) -> CircleHand:
    hand = CircleHand()
    with torch.no_grad():
        hand.log_radius.fill_(torch.tensor(radius).log().item())
    return hand


def hands(count: int, seed: int) -> LabelledBatch:
    """Bright hands before darker noise, with joints in space and masks."""
    generator = torch.Generator().manual_seed(seed)
    joints_m = 0.1 * true_poses(HAND21, 48)[torch.randint(48, (count,), generator=generator)].float()
    view = camera(count).warped(torch.diag(torch.tensor([SIDE / 64, SIDE / 64, 1.0])).double().repeat(count, 1, 1))
    uv_px = view.project(joints_m.double()).float()
    low, high = uv_px.amin(1, keepdim=True), uv_px.amax(1, keepdim=True)
    uv_px = 5 + (SIDE - 11) * (uv_px - low) / (high - low).amax(-1, keepdim=True)
    with torch.no_grad():
        circles = circle_hand()(uv_px, SIDE)
        mask = circles.distance(SIDE) < 0
    image = 0.4 * torch.rand(count, 3, SIDE, SIDE, generator=generator)
    colour = uniform(generator, 0.6, 1.0, count, 3, 1, 1)
    present = torch.ones(count, len(HAND21), dtype=torch.bool)
    return LabelledBatch(
        image=torch.where(mask[:, None], colour, image),
        key=tuple(f"{seed}-{i}" for i in range(count)),
        uv_px=uv_px,
        valid=present,
        visible=present,
        joints_m=joints_m,
        hand_mask=mask,
    )


@cache
def source() -> LabelledBatch:
    return hands(40, seed=1)


@cache
def target() -> LabelledBatch:
    return hands(10, seed=2)


def small_network(seed: int = 0) -> PoseResNet:
    config = PoseResNetConfig(encoder="test_resnet", encoder_stride=16, decoder_channels=8, skips=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PoseResNet(config, MAPS)


def multi_task(pose: FeatureNetwork | None = None) -> MultiTaskNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MultiTaskNetwork(pose or small_network(), ("mask",))


def context(**changes) -> Context:
    made = Context(
        new_network=small_network,
        skeleton=HAND21,
        source=InMemoryFrames(InMemoryDataset([source()]), seed=3),
        target=InMemoryFrames(InMemoryDataset([target().unlabelled()]), seed=4),
        selection=None,
        seed=5,
    )
    return replace(made, **changes)


@cache
def registration() -> PoseRegistration:
    return PoseRegistration.from_context(context(), CorrectionConfig(angles=False))


def adaptation(config: AdaptationConfig = CONFIG, network: MultiTaskNetwork | None = None, **changes) -> Adaptation:
    """A stage with its trainer, so that its terms can be computed."""
    stage = Adaptation(config, context(**changes), network or multi_task(), circle_hand(), registration(), None)
    return with_trainer(stage)


def first_terms(stage, number: int = 0) -> dict[str, Tensor]:
    """The terms of one batch."""
    batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
    return stage.terms(batches, torch.Generator().manual_seed(number))
