"""The VGG behind styles and redrawings of a method: where its weights come from, and doing without it."""

from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar

from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.geometric_reconstruction.perceptual_features import EncoderFeatures, VggFeatures
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.vgg import VggConfig
from posebridge.training.style import AdaINStyle, FourierStyle

Adapting = MeanTeacherConfig | GeometricReconstructionConfig
AdaptingT = TypeVar("AdaptingT", MeanTeacherConfig, GeometricReconstructionConfig)


class Size(Protocol):
    """What a recipe's size has that weights from elsewhere can be given to; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def network(self) -> PoseResNetConfig:
        """Whose encoder may start from trained weights."""
        ...

    @property
    def mean_teacher(self) -> MeanTeacherConfig:
        """Whose style may be AdaIN's, on a VGG."""
        ...

    @property
    def geometric_reconstruction(self) -> GeometricReconstructionConfig | None:
        """Whose style and redrawings may use a VGG."""
        ...


SizeT = TypeVar("SizeT", bound=Size)


def with_weights(size: SizeT, encoder: str | None, vgg: str | None) -> SizeT:
    """A size with weights from elsewhere: "timm", a file, or "none". None leaves them as they are.

    Without a VGG, style goes by Fourier amplitudes, and redrawings are compared by the pose network's features.
    """
    if encoder is not None:
        size = replace(size, network=replace(size.network, pretrained=encoder))
    if vgg is None:
        return size
    geometric = size.geometric_reconstruction
    return replace(
        size,
        mean_teacher=with_vgg(size.mean_teacher, vgg),
        geometric_reconstruction=None if geometric is None else with_vgg(geometric, vgg),
    )


def vggs_of(config: Adapting) -> tuple[VggConfig, ...]:
    """The trained networks whose features a method needs beside its own."""
    found = [config.style.encoder] if isinstance(config.style, AdaINStyle) else []
    if isinstance(config, GeometricReconstructionConfig) and config.reconstruction is not None:
        features = config.reconstruction.features
        found += [features.network] if isinstance(features, VggFeatures) else []
    return tuple(found)


def with_vgg(config: AdaptingT, pretrained: str) -> AdaptingT:
    """The method with weights from elsewhere: "timm", a file, or "none".

    With "none" style goes by Fourier amplitudes, and redrawings are compared by the pose network's own features.
    """
    if isinstance(config.style, AdaINStyle):
        style = replace(config.style, encoder=replace(config.style.encoder, pretrained=pretrained))
        config = replace(config, style=FourierStyle() if pretrained == "none" else style)
    if not isinstance(config, GeometricReconstructionConfig) or config.reconstruction is None:
        return config
    features = config.reconstruction.features
    if not isinstance(features, VggFeatures):
        return config
    other = replace(features, network=replace(features.network, pretrained=pretrained))
    reconstruction = replace(config.reconstruction, features=EncoderFeatures() if pretrained == "none" else other)
    return replace(config, reconstruction=reconstruction)
