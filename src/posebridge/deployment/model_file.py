"""A trained model on disk: ``model.safetensors`` with ``model.json`` beside it. Loading runs nothing from either."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posebridge.deployment.description import DESCRIPTION, WEIGHTS, read_description, write_description
from posebridge.errors import InputError
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.pose_resnet import PoseResNet, PoseResNetConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.networks.weights import load_weights, save_weights
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

HandName = Literal["anny", "mano"]
SKELETONS = {HAND21.name: HAND21, **BODIES}


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to rebuild a pose network and to read its maps."""

    network: PoseResNetConfig
    maps: PoseMaps = field(default_factory=PoseMaps)
    skeleton: str = HAND21.name
    size_px: int = 256  # side of the square crop that the network sees
    reference_length_m: float | None = None  # mean length of the reference bone in the source, for poses in metres
    method: str = "source_only"


@dataclass(frozen=True)
class DepthHandSpec:
    """All that is needed to rebuild a depth hand model, for crops of metric cubes."""

    network: DepthHandConfig
    fusion: ViewFusionConfig = field(default_factory=ViewFusionConfig)
    skeleton: str = HAND21.name
    size_px: int = 128
    cube_m: float = 0.25
    method: str = "multi-view-fusion"
    hand: HandName = "anny"  # whose parameters it gives; MANO's file is the user's and no part of the model's


def skeleton_of(spec: ModelSpec | DepthHandSpec) -> Skeleton:
    """The skeleton by its name. Raises ``InputError`` for one that this version doesn't know."""
    if spec.skeleton not in SKELETONS:
        raise InputError(f"unknown skeleton {spec.skeleton!r}: this version knows {', '.join(SKELETONS)}")
    return SKELETONS[spec.skeleton]


def save_model(folder: Path, spec: ModelSpec, network: PoseResNet) -> None:
    """Write both files. Weights that the encoder was started from are part of the file and not named."""
    save_weights(network, folder / WEIGHTS)
    write_description(folder, "pose", spec)


def load_model(path: Path) -> tuple[ModelSpec, PoseResNet]:
    """The model of a run's folder, or of a ``model.safetensors`` or ``model.json``; in evaluation mode.

    Raises ``InputError`` for missing or broken files and for weights of another network.
    """
    folder, spec = read_description(path, "pose", ModelSpec)
    _check_joints(folder, spec, spec.network.joints)
    network = PoseResNet(spec.network)
    load_weights(network, folder / WEIGHTS)
    return spec, network.eval()


def save_depth_hand(folder: Path, spec: DepthHandSpec, model: DepthHandModel) -> None:
    """Write both files, as ``save_model`` does."""
    save_weights(model, folder / WEIGHTS)
    write_description(folder, "depth-hand", spec)


def load_depth_hand(path: Path) -> tuple[DepthHandSpec, DepthHandModel]:
    """As ``load_model``, of a model for depth with a hand model."""
    folder, spec = read_description(path, "depth-hand", DepthHandSpec)
    _check_joints(folder, spec, spec.network.joints)
    model = DepthHandModel(spec.network, spec.fusion, skeleton_of(spec))
    load_weights(model, folder / WEIGHTS)
    return spec, model.eval()


def _check_joints(folder: Path, spec: ModelSpec | DepthHandSpec, joints: int) -> None:
    if joints != len(skeleton_of(spec)):
        raise InputError(f"{folder / DESCRIPTION}: {joints} joints don't go with skeleton {spec.skeleton}")
