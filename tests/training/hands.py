"""A few small depth hands, and a small network."""

from collections.abc import Callable

import torch

from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import generator_for
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import (
    DEPTH_STREET,
    DEPTH_STUDIO,
    DepthHandDomain,
    render_depth_hands,
    with_meshes,
)
from posebridge.training.context import Context
from posebridge.training.frames import InMemoryFrames

SIDE, CUBE_M = 32, 0.25
TINY = DepthHandConfig(
    encoder="test_resnet", decoder_channels=16, stack=HourglassConfig(blocks=2, channels=8, most_channels=16)
)


def rendered(domain: DepthHandDomain, sets: int, seed: int):
    """Sets of three views."""
    return with_meshes(render_depth_hands(domain, sets, SIDE, generator_for(seed, 1)))


def depth_context(sets: int = 6, network: DepthHandConfig = TINY) -> Context:
    """Studio hands with labels, street hands without."""
    source = InMemoryDataset([rendered(DEPTH_STUDIO, sets, 1)])
    target = InMemoryDataset([rendered(DEPTH_STREET, sets, 2).unlabelled()])
    return Context(
        new_network=new_model(network),
        skeleton=HAND21,
        source=InMemoryFrames(source, 0),
        target=InMemoryFrames(target, 1),
        selection=None,
        seed=0,
        hand=AnnyHand(),
        cube_m=CUBE_M,
    )


def new_model(network: DepthHandConfig = TINY) -> Callable[[], DepthHandModel]:
    """Returns the same model in every call."""

    def make() -> DepthHandModel:
        torch.manual_seed(0)
        return DepthHandModel(network, ViewFusionConfig(width=16), HAND21)

    return make
