"""A preset: the numbers behind a run, in one place. ``presets/`` has one file for each family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from posebridge.deployment.model_spec import DepthHandSpec, HandName, ModelSpec, PoseSpec
from posebridge.errors import InputError
from posebridge.methods.base import MethodConfig
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.vgg import VggEncoder
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.source_training import SourceTrainingConfig


@dataclass(frozen=True)
class DataSizes:
    """How much data a run takes. None: all that there is."""

    source: int | None = None  # labelled samples
    source_with_model: int | None = None  # likewise, where a trained source model is given
    source_video_frames: int | None = None  # for methods that train on videos of the source
    source_clips: int | None = None  # of datasets of clips, evenly chosen
    target: int | None = None  # unlabelled samples
    test: int | None = None  # scored samples
    views: int = 1  # of each moment of rendered depth


@dataclass(frozen=True)
class SelectionConfig:
    """How checkpoints are compared without labels of the target."""

    evaluations: int = 8
    appearance: AppearanceConfig = WEAK  # how the compared views are re-coloured


@dataclass(frozen=True)
class Preset:
    """Image size, network, data and training of a run, for each of the methods."""

    family: str  # what it is for, such as "synthshift/hand-rgb"
    name: str  # its name within the family: small for two CPU cores, full for a GPU
    size_px: int  # side of the square crops
    network: PoseResNetConfig | DepthHandConfig
    methods: Mapping[str, MethodConfig]  # by name of the method
    source: SourceTrainingConfig | None = None  # None: the method trains its own source model
    data: DataSizes = field(default_factory=DataSizes)
    maps: PoseMaps = field(default_factory=PoseMaps)  # of networks with heat maps
    fusion: ViewFusionConfig = field(default_factory=ViewFusionConfig)  # of networks that fuse views
    cube_m: float | None = None  # side of the cube of depth crops
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    space_mb: int = 300  # that a run leaves on disk, checkpoints included

    def config_of(self, method: str) -> MethodConfig:
        """The config of a method. Raises ``InputError`` for a method that the preset doesn't have."""
        if method not in self.methods:
            raise InputError(f"preset {self.name} of {self.family} has no {method}: choose {', '.join(self.methods)}")
        return self.methods[method]

    def keeping(self, *methods: str) -> "Preset":
        """The preset with these methods alone, as far as it has them."""
        return replace(self, methods={name: self.methods[name] for name in methods if name in self.methods})

    def with_config(self, method: str, config: MethodConfig) -> "Preset":
        """The preset with another config of a method."""
        return replace(self, methods={**self.methods, method: config})

    def with_weights(self, encoder: str | Path | None, features: str | Path | None) -> "Preset":
        """The preset with weights from elsewhere: "timm", a file, or "none". None keeps what the preset has.

        ``encoder`` are those of the pose network's encoder, ``features`` those of the methods' feature networks.
        """
        preset = self
        if encoder is not None:
            if not isinstance(self.network, PoseResNetConfig):
                raise InputError("this network has no encoder that starts from given weights")
            preset = replace(preset, network=replace(self.network, pretrained=str(encoder)))
        if features is not None:
            methods = {name: config.with_feature_weights(str(features)) for name, config in self.methods.items()}
            preset = replace(preset, methods=methods)
        return preset

    def check_weights(self) -> None:
        """Load the weights of all feature networks once. Raises ``InputError`` where they can't be had."""
        for config in self.methods.values():
            for encoder in config.feature_networks():
                VggEncoder(encoder)

    def spec(self, skeleton: Skeleton, method: str, reference_length_m: float | None, hand: HandName) -> ModelSpec:
        """The description of a network that is trained by this preset."""
        if isinstance(self.network, PoseResNetConfig):
            return PoseSpec(
                network=self.network,
                maps=self.maps,
                skeleton=skeleton.name,
                size_px=self.size_px,
                reference_length_m=reference_length_m,
                method=method,
            )
        if self.cube_m is None:
            raise ValueError(f"preset {self.name} of {self.family} has no cube_m")
        return DepthHandSpec(
            network=self.network,
            fusion=self.fusion,
            skeleton=skeleton.name,
            size_px=self.size_px,
            cube_m=self.cube_m,
            method=method,
            hand=hand,
        )

    def with_spec(self, spec: ModelSpec) -> "Preset":
        """The preset with size, network and maps of a model that is given."""
        if isinstance(spec, PoseSpec):
            return replace(self, size_px=spec.size_px, network=spec.network, maps=spec.maps)
        if isinstance(spec, DepthHandSpec):
            return replace(self, size_px=spec.size_px, network=spec.network, fusion=spec.fusion)
        raise TypeError(f"no preset has a network of {type(spec).__name__}")


Change = Callable[[Preset], Preset]


def unchanged(preset: Preset) -> Preset:
    """The preset itself."""
    return preset
