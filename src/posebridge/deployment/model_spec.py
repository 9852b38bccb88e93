"""What ``model.json`` records of a model: all that is needed to build its network again and to read its output."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from posebridge.errors import InputError
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

HandName = Literal["anny", "mano"]
SKELETONS = {HAND21.name: HAND21, **BODIES}


class ModelSpec(Protocol):
    """What the specs of all kinds of model have in common."""

    @property
    def skeleton(self) -> str:
        """Name of the skeleton whose joints the model predicts."""
        ...

    @property
    def size_px(self) -> int:
        """Side of the square crop that the network takes."""
        ...

    @property
    def cube_m(self) -> float | None:
        """Side of the metric cube that a depth crop shows; None for a model of colour images."""
        ...

    @property
    def method(self) -> str:
        """Name of the method that trained the model."""
        ...


@dataclass(frozen=True)
class PoseSpec:
    """A ``PoseResNet`` of colour crops, or of depth crops where ``maps`` have a cube."""

    network: PoseResNetConfig
    maps: PoseMaps = field(default_factory=PoseMaps)
    skeleton: str = HAND21.name
    size_px: int = 256  # side of the square crop that the network takes
    reference_length_m: float | None = None  # mean length of the reference bone in the source, for poses in metres
    method: str = "source_only"

    @property
    def cube_m(self) -> float | None:
        """Side of the metric cube that a depth crop shows; None for a model of colour images."""
        return self.maps.cube_m


@dataclass(frozen=True)
class DepthHandSpec:
    """A ``DepthHandModel`` of depth crops of metric cubes."""

    network: DepthHandConfig
    fusion: ViewFusionConfig = field(default_factory=ViewFusionConfig)
    skeleton: str = HAND21.name
    size_px: int = 128  # side of the square crop that the network takes
    cube_m: float = 0.25
    method: str = "multi-view-fusion"
    hand: HandName = "anny"  # whose parameters it predicts; MANO's file belongs to the user and is not stored


def skeleton_of(spec: ModelSpec) -> Skeleton:
    """The skeleton by its name. Raises ``InputError`` for a name that this version doesn't have."""
    if spec.skeleton not in SKELETONS:
        raise InputError(f"unknown skeleton {spec.skeleton!r}: this version knows {', '.join(SKELETONS)}")
    return SKELETONS[spec.skeleton]
