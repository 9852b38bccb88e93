"""The table of kinds of model: how each is described, built and used."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from posebridge.bodies.parametric_hand import SHAPE_SIZE
from posebridge.deployment.depth_predictor import DepthHandPredictor
from posebridge.deployment.model_spec import (
    AlignedPoseSpec,
    CropPoseSpec,
    DepthHandSpec,
    DetectorSpec,
    HourglassPoseSpec,
    ImageSynthesisSpec,
    LatentPoseSpec,
    ModelSpec,
    PoseSpec,
    VolumePoseSpec,
    skeleton_of,
)
from posebridge.deployment.predictor import PosePredictor, Predictor
from posebridge.errors import InputError
from posebridge.networks.aligned_latents import AlignedPoseNetwork
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.detector import DetectorNetwork
from posebridge.networks.image_synthesis import ImageSynthesisNetwork
from posebridge.networks.latent_pose import LatentPoseNetwork
from posebridge.networks.pose_network import PoseNetwork
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.pose_vit import PoseViT
from posebridge.networks.stacked_hourglass import StackedHourglass

SpecT = TypeVar("SpecT", bound=ModelSpec | DetectorSpec)
NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class ModelKind(Generic[SpecT, NetworkT]):
    """A kind of model file. What a model reads is its spec's ``cube_m``: depth with a cube, else colour."""

    name: str  # in model.json
    spec: type[SpecT]
    build: Callable[[SpecT], NetworkT]  # a new network, of random weights
    predictor: Callable[[SpecT, NetworkT, Path | None], Predictor]  # the path: MANO's file, where the user gives one
    command: str  # that takes it


def _build_pose(spec: PoseSpec) -> PoseResNet:
    _check_joints(spec, spec.network.joints)
    return PoseResNet(spec.network, spec.maps)


def _build_volumes(spec: VolumePoseSpec) -> PoseViT:
    _check_joints(spec, spec.network.joints)
    return PoseViT(spec.network, spec.volumes)


def _build_hourglass(spec: HourglassPoseSpec) -> StackedHourglass:
    _check_joints(spec, spec.network.joints)
    if spec.size_px % spec.network.map_px:
        raise InputError(f"crops of {spec.size_px} px can't be averaged to maps of {spec.network.map_px} px")
    return StackedHourglass(spec.network, spec.maps)


def _build_latent_pose(spec: LatentPoseSpec) -> LatentPoseNetwork:
    _check_joints(spec, spec.network.joints)
    return LatentPoseNetwork(spec.network, skeleton_of(spec).root, spec.reference_length_m)


def _build_image_synthesis(spec: ImageSynthesisSpec) -> ImageSynthesisNetwork:
    _check_joints(spec, spec.network.joints)
    return ImageSynthesisNetwork(spec.network, skeleton_of(spec).root, spec.reference_length_m)


def _build_aligned(spec: AlignedPoseSpec) -> AlignedPoseNetwork:
    _check_joints(spec, spec.network.joints)
    return AlignedPoseNetwork(spec.network, skeleton_of(spec), spec.reference_length_m)


def _pose_predictor(spec: CropPoseSpec, network: PoseNetwork, mano: Path | None) -> PosePredictor:
    if mano is not None:
        raise InputError("this model predicts joints without a hand model: leave mano out")
    return PosePredictor(spec, network)


def _build_depth_hand(spec: DepthHandSpec) -> DepthHandModel:
    _check_joints(spec, spec.network.joints)
    if spec.network.shape_size != SHAPE_SIZE:
        raise InputError(
            f"the model's hands have {spec.network.shape_size} shape parameters, those of this version {SHAPE_SIZE}: "
            "train the model again"
        )
    return DepthHandModel(spec.network, spec.fusion, skeleton_of(spec))


def _build_detector(spec: DetectorSpec) -> DetectorNetwork:
    widths, blocks = spec.network.widths, spec.network.blocks
    if len(widths) != 5 or len(blocks) != 5:
        raise InputError(f"a detector has five strides, and the model {len(widths)} widths and {len(blocks)} blocks")
    return DetectorNetwork(spec.network)


def _no_predictor(spec: DetectorSpec, network: DetectorNetwork, mano: Path | None) -> Predictor:
    """Raise ``InputError``: a detector predicts no joints."""
    raise InputError("this model finds hands and people and predicts no joints: give a model of poses")


def _check_joints(spec: ModelSpec, joints: int) -> None:
    """Raise ``InputError`` where a network of so many joints doesn't fit the spec's skeleton."""
    if joints != len(skeleton_of(spec)):
        raise InputError(f"{joints} joints don't match skeleton {spec.skeleton}")


POSE = ModelKind("pose", PoseSpec, _build_pose, _pose_predictor, "predict")
VOLUME_POSE = ModelKind("volume-pose", VolumePoseSpec, _build_volumes, _pose_predictor, "predict")
HOURGLASS_POSE = ModelKind("hourglass-pose", HourglassPoseSpec, _build_hourglass, _pose_predictor, "predict")
ALIGNED_POSE = ModelKind("aligned-pose", AlignedPoseSpec, _build_aligned, _pose_predictor, "predict")
DEPTH_HAND = ModelKind("depth-hand", DepthHandSpec, _build_depth_hand, DepthHandPredictor, "predict-depth")
LATENT_POSE = ModelKind("latent-pose", LatentPoseSpec, _build_latent_pose, _pose_predictor, "predict")
# Its predictor is for scores of runs: the poses of synthesised images are not what the model is trained for.
IMAGE_SYNTHESIS = ModelKind(
    "image-synthesis", ImageSynthesisSpec, _build_image_synthesis, _pose_predictor, "synthesise"
)
DETECTOR = ModelKind("detector", DetectorSpec, _build_detector, _no_predictor, "predict --detector")

# Of single crops, with a ``PosePredictor``, which ``predict`` takes.
CROP_KINDS: tuple[ModelKind[Any, Any], ...] = (POSE, VOLUME_POSE, HOURGLASS_POSE, ALIGNED_POSE, LATENT_POSE)
_KINDS = (*CROP_KINDS, DEPTH_HAND, DETECTOR, IMAGE_SYNTHESIS)
MODEL_KINDS: dict[str, ModelKind[Any, Any]] = {kind.name: kind for kind in _KINDS}


def kind_of_spec(spec: ModelSpec | DetectorSpec) -> ModelKind[Any, Any]:
    """The kind to which a spec belongs."""
    return next(kind for kind in MODEL_KINDS.values() if type(spec) is kind.spec)
