"""What ``model.json`` records of a model: all that is needed to build its network again and to read its output."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, Self

from posebridge.bodies.parametric_hand import ParametricHand, load_parametric_hand
from posebridge.errors import InputError
from posebridge.networks.aligned_latents import AlignedPoseConfig
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.detector import DetectorConfig
from posebridge.networks.image_synthesis import ImageSynthesisConfig
from posebridge.networks.latent_pose import LatentPoseConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.pose_vit import PoseViTConfig
from posebridge.networks.stacked_hourglass import StackedHourglassConfig
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.representations.pose_volumes import PoseVolumes
from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton

HandName = Literal["anny", "mano"]
SKELETONS = {HAND21.name: HAND21, **BODIES}


def hand_name(mano: Path | None) -> HandName:
    """The hand model of a run: MANO's where its file is given."""
    return "anny" if mano is None else "mano"


class ModelSpec(Protocol):
    """What the specs of all kinds of model have in common. A preset holds the spec of the networks that it trains."""

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

    @property
    def takes_depth_m(self) -> bool:
        """Whether training takes depth crops in metres, instead of images made of colour or depth."""
        ...

    @property
    def hand(self) -> HandName | None:
        """The hand model whose parameters the model predicts; None for one that predicts joints alone."""
        ...

    def trained(self, method: str, reference_length_m: float | None, hand: HandName) -> Self:
        """The spec of a network that a method trains.

        Args:
            method: its name.
            reference_length_m: mean length of the reference bone in the source, where it is known.
            hand: the hand model whose renders the network is trained on.
        """
        ...

    def hand_model(self, mano: Path | None) -> ParametricHand | None:
        """The hand model that the network predicts the parameters of, MANO's from its file; None without parameters."""
        ...

    def with_encoder_weights(self, weights: str) -> Self:
        """The spec with other initial weights of the encoder: "timm", a file, or "none".

        Raises ``InputError`` for a network whose encoder takes none.
        """
        ...

    def with_stacks(self, stacks: int) -> Self:
        """The spec with so many stacked networks, each of which refines the prediction of the one before.

        Raises ``InputError`` for a network that can't be stacked.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class _JointsAlone:
    """What the specs of networks of single crops share, which predict joints without a hand model."""

    skeleton: str = HAND21.name
    reference_length_m: float | None = None  # mean length of the reference bone in the source, for poses in metres
    method: str = ""
    least_confidence: float | None = None  # mean confidence, below which a crop is empty; None: no crop is

    @property
    def takes_depth_m(self) -> bool:
        """False: depth crops are given as images, too."""
        return False

    @property
    def hand(self) -> None:
        """None: the network predicts joints alone."""

    def trained(self, method: str, reference_length_m: float | None, hand: HandName) -> Self:
        """The spec of a network that a method trains. A reference length that the spec has already is kept."""
        return replace(self, method=method, reference_length_m=self.reference_length_m or reference_length_m)

    def hand_model(self, mano: Path | None) -> None:
        """None: the network predicts joints alone."""

    def with_stacks(self, stacks: int) -> Self:
        """Raise ``InputError``: the network has no stacks."""
        raise InputError("this network has no stacks: leave --stacks out")


class _OfColour(_JointsAlone):
    """What the specs of networks of colour crops alone share."""

    @property
    def cube_m(self) -> None:
        """None: the network reads colour images."""


@dataclass(frozen=True)
class PoseSpec(_JointsAlone):
    """A ``PoseResNet`` of colour crops, or of depth crops where ``maps`` have a cube."""

    network: PoseResNetConfig
    maps: PoseMaps = field(default_factory=PoseMaps)
    size_px: int = 256  # side of the square crop that the network takes

    @property
    def cube_m(self) -> float | None:
        """Side of the metric cube that a depth crop shows; None for a model of colour images."""
        return self.maps.cube_m

    def with_encoder_weights(self, weights: str) -> Self:
        """The spec with other initial weights of the encoder: "timm", a file, or "none"."""
        return replace(self, network=replace(self.network, pretrained=weights))


@dataclass(frozen=True)
class VolumePoseSpec(_OfColour):
    """A ``PoseViT`` of colour crops. Defaults are the paper's of masked reconstruction, for hands."""

    network: PoseViTConfig = field(default_factory=PoseViTConfig)
    volumes: PoseVolumes = field(default_factory=PoseVolumes)

    @property
    def size_px(self) -> int:
        """Side of the square crop that the network takes."""
        return self.network.vit.size_px

    def with_encoder_weights(self, weights: str) -> Self:
        """The spec with other initial weights of the encoder: "timm", a file, or "none"."""
        vit = replace(self.network.vit, pretrained=weights)
        return replace(self, network=replace(self.network, vit=vit))

    def for_crops_of(self, other: ModelSpec) -> Self:
        """The spec for the crops and joints of another model: as many patches, of another size.

        Raises ``InputError`` for crops that can't be cut into so many patches, and for a model of depth.
        """
        if other.cube_m is not None:
            raise InputError("the method trains a network of colour images, and these are depth: choose another method")
        skeleton = skeleton_of(other)
        vit = self.network.vit
        vit = replace(vit, size_px=other.size_px, patch_px=other.size_px // vit.grid)
        return replace(self, network=replace(self.network, vit=vit, joints=len(skeleton)), skeleton=skeleton.name)


@dataclass(frozen=True)
class HourglassPoseSpec(_OfColour):
    """A ``StackedHourglass`` of colour crops. Defaults are SemiHand's, whose poses are the means of heat maps."""

    network: StackedHourglassConfig = field(default_factory=StackedHourglassConfig)
    maps: PoseMaps = field(default_factory=lambda: PoseMaps("softmax", decoding="mean"))
    size_px: int = 64  # side of the square crop that the network takes

    def with_encoder_weights(self, weights: str) -> Self:
        """Raise ``InputError``: the network has no encoder."""
        raise InputError("this network has no encoder that starts from given weights: leave --encoder-weights out")

    def with_stacks(self, stacks: int) -> Self:
        """The spec with so many stacks."""
        return replace(self, network=replace(self.network, stacks=stacks))

    def for_crops_of(self, other: ModelSpec) -> Self:
        """The spec for the crops and joints of another model: larger crops are averaged to the maps' size.

        Raises ``InputError`` for crops whose side is no multiple of the maps', and for a model of depth.
        """
        if other.cube_m is not None:
            raise InputError("the method trains a network of colour images, and these are depth: choose another method")
        if other.size_px % self.network.map_px:
            raise InputError(
                f"crops of {other.size_px} px can't be averaged to {self.network.map_px} px: "
                "choose a multiple, or another map_px"
            )
        network = replace(self.network, joints=len(skeleton_of(other)))
        return replace(self, network=network, size_px=other.size_px, skeleton=other.skeleton)


@dataclass(frozen=True)
class LatentPoseSpec(_OfColour):
    """A ``LatentPoseNetwork`` of colour crops."""

    network: LatentPoseConfig = field(default_factory=LatentPoseConfig)
    size_px: int = 256  # side of the square crop that the network takes

    def with_encoder_weights(self, weights: str) -> Self:
        """The spec with other initial weights of the encoder: "timm", a file, or "none"."""
        encoder = replace(self.network.encoder, pretrained=weights)
        return replace(self, network=replace(self.network, encoder=encoder))


@dataclass(frozen=True)
class ImageSynthesisSpec(_OfColour):
    """An ``ImageSynthesisNetwork``, whose crops are also what it synthesises."""

    network: ImageSynthesisConfig = field(default_factory=ImageSynthesisConfig)

    @property
    def size_px(self) -> int:
        """Side of the square crop that the network takes."""
        return self.network.size_px

    def with_encoder_weights(self, weights: str) -> Self:
        """The spec with other initial weights of the encoders: "timm", a file, or "none"."""
        encoder = replace(self.network.encoder, pretrained=weights)
        return replace(self, network=replace(self.network, encoder=encoder))


@dataclass(frozen=True)
class AlignedPoseSpec(_OfColour):
    """An ``AlignedPoseNetwork`` of colour crops. Defaults are the dissertation's of aligned latent spaces."""

    network: AlignedPoseConfig = field(default_factory=AlignedPoseConfig)

    @property
    def size_px(self) -> int:
        """Side of the square crop that the network takes."""
        return self.network.size_px

    def with_encoder_weights(self, weights: str) -> Self:
        """The spec with other initial weights of the encoder: "timm", a file, or "none"."""
        return replace(self, network=replace(self.network, encoder=replace(self.network.encoder, pretrained=weights)))


# Of networks of single crops.
CropPoseSpec = PoseSpec | VolumePoseSpec | HourglassPoseSpec | AlignedPoseSpec | LatentPoseSpec | ImageSynthesisSpec


@dataclass(frozen=True)
class DepthHandSpec:
    """A ``DepthHandModel`` of depth crops of metric cubes."""

    network: DepthHandConfig
    fusion: ViewFusionConfig = field(default_factory=ViewFusionConfig)
    skeleton: str = HAND21.name
    size_px: int = 128  # side of the square crop that the network takes
    cube_m: float = 0.25
    method: str = ""
    hand: HandName = "anny"  # whose parameters it predicts; MANO's file belongs to the user and is not stored

    @property
    def takes_depth_m(self) -> bool:
        """True: hand models are fitted to depth in metres."""
        return True

    def trained(self, method: str, reference_length_m: float | None, hand: HandName) -> Self:
        """The spec of a network that a method trains. Depth in metres needs no reference length."""
        return replace(self, method=method, hand=hand)

    def hand_model(self, mano: Path | None) -> ParametricHand:
        """Anny's hand, or MANO's from its file."""
        return load_parametric_hand(mano, self.network.shape_size)

    def with_encoder_weights(self, weights: str) -> Self:
        """Raise ``InputError``: the encoder of depth takes no weights."""
        raise InputError("this network has no encoder that starts from given weights: leave --encoder-weights out")

    def with_stacks(self, stacks: int) -> Self:
        """The spec with so many single-view networks."""
        return replace(self, network=replace(self.network, stacks=stacks))


@dataclass(frozen=True)
class DetectorSpec:
    """A ``DetectorNetwork`` of whole images."""

    network: DetectorConfig = field(default_factory=DetectorConfig)
    size_px: int = 320  # longer side of the network's input


def skeleton_of(spec: ModelSpec) -> Skeleton:
    """The skeleton by its name. Raises ``InputError`` for a name that this version doesn't have."""
    if spec.skeleton not in SKELETONS:
        raise InputError(f"unknown skeleton {spec.skeleton!r}: this version has {', '.join(SKELETONS)}")
    return SKELETONS[spec.skeleton]
