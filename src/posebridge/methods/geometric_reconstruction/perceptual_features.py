"""Features of the perceptual loss: those of a trained VGG-19, or of the pose network's own encoder."""

from dataclasses import dataclass, replace
from typing import Self

from jaxtyping import Float
from torch import Tensor, nn

from posebridge.losses.perceptual import perceptual_l1
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.networks.vgg import NormalisedEncoder, VggConfig, VggEncoder

# VGG-19 from relu1_1 to relu5_1.
VGG19_RELU5 = VggConfig(widths=(64, 128, 256, 512, 512), depths=(2, 2, 4, 4, 1))


@dataclass(frozen=True)
class VggFeatures:
    """Features of Eq. 9 (Lin et al., NeurIPS 2023), with the layers and scales of Siarohin et al., CVPR 2021."""

    network: VggConfig = VGG19_RELU5
    scales: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    relative: bool = False  # see ``losses.perceptual.perceptual_l1``

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """The VGG."""
        return (self.network,)

    def with_feature_weights(self, weights: str) -> "VggFeatures | EncoderFeatures":
        """The features with other weights: "timm", a file, or "none", which takes the pose encoder's features."""
        return (
            EncoderFeatures() if weights == "none" else replace(self, network=replace(self.network, pretrained=weights))
        )


@dataclass(frozen=True)
class EncoderFeatures:
    """Features of the frozen, source-trained pose encoder, for use without VGG's weights."""

    levels: int = 3  # from the shallowest on
    scales: tuple[float, ...] = (1.0, 0.5)
    relative: bool = True

    def feature_networks(self) -> tuple[VggConfig, ...]:
        """None: the pose network provides the features."""
        return ()

    def with_feature_weights(self, weights: str) -> "EncoderFeatures":
        """The same features, which need no weights."""
        return self


class PerceptualLoss(nn.Module):
    """Eq. 9 under frozen features."""

    def __init__(self, config: VggFeatures | EncoderFeatures, network: PoseResNet):
        """``EncoderFeatures`` takes a copy of the encoder of ``network`` with its current weights."""
        super().__init__()
        self.config = config
        self.encoder = (
            VggEncoder(config.network)
            if isinstance(config, VggFeatures)
            else NormalisedEncoder(network.shallow_encoder(config.levels))
        )
        self.encoder.eval().requires_grad_(False)

    def forward(self, image: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """One value per sample; images are RGB in [0, 1]."""
        return perceptual_l1(self.encoder, image, target, self.config.scales, self.config.relative)

    def train(self, mode: bool = True) -> Self:
        """Ignored: the features keep the batch statistics of the source, so they stay in evaluation mode."""
        return super().train(False)
