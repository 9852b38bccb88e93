"""Encoders to a latent space and decoders from it: the parts of variational autoencoders of images and poses.

Chapters 4 and 5 of Yang's dissertation, 2022: ResNet-18 for images, DCGAN (Radford et al., ICLR 2016) for pictures and
heat maps, fully connected layers for poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.encoder_decoder import Normalisation
from posebridge.networks.encoders import create_encoder, feature_info
from posebridge.representations.gaussian import Gaussian

_FIRST_SIDE = 4  # of the first features of a DCGAN
# Logarithms of variances are kept in this range: beyond it, exponentials overflow or gradients vanish.
_LOG_VARIANCE = (-12.0, 6.0)


@dataclass(frozen=True)
class ImageEncoderConfig:
    """An encoder of images; ``pretrained`` as in ``create_encoder``."""

    encoder: str = "resnet18"  # any timm model that has features_only
    pretrained: str = "none"
    stride: int = 32  # of the features that are averaged
    hidden: int = 512  # of the fully connected layer before mean and variance
    normalisation: Normalisation = field(default_factory=Normalisation)


class GaussianHead(nn.Module):
    """Features to Gaussians: a hidden layer, and linear layers for means and logarithms of variances."""

    def __init__(self, inputs: int, hidden: int, latent: int):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True))
        self.parameters_of = nn.Linear(hidden, 2 * latent)

    def forward(self, features: Float[Tensor, "B C"]) -> Gaussian:
        """Gaussians in float32."""
        mean, log_variance = self.parameters_of(self.hidden(features)).float().chunk(2, dim=1)
        return Gaussian(mean, log_variance.clamp(*_LOG_VARIANCE))


class ImageFeatures(nn.Module):
    """RGB images to vectors: a timm encoder, and the mean over its last features."""

    def __init__(self, config: ImageEncoderConfig):
        """Raises ``InputError`` as ``create_encoder`` does."""
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder, config.pretrained, config.stride)
        self.channels = feature_info(self.encoder).channels()[-1]
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Features of images in [0, 1]."""
        return self.encoder(self.config.normalisation(images))[-1].mean(dim=(2, 3))


class ImageEncoder(nn.Module):
    """RGB images to Gaussians: mean features of a timm encoder, and two fully connected layers."""

    def __init__(self, config: ImageEncoderConfig, latent: int):
        """Raises ``InputError`` as ``create_encoder`` does."""
        super().__init__()
        self.features = ImageFeatures(config)
        self.head = GaussianHead(self.features.channels, config.hidden, latent)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Gaussian:
        """Gaussians of images in [0, 1]."""
        return self.head(self.features(images))


class VectorEncoder(nn.Module):
    """Vectors, such as flat poses, to Gaussians: fully connected layers with ReLU."""

    def __init__(self, inputs: int, latent: int, hidden: Sequence[int]):
        super().__init__()
        self.layers = _dense([inputs, *hidden])
        self.parameters_of = nn.Linear(hidden[-1], 2 * latent)

    def forward(self, vectors: Float[Tensor, "B C"]) -> Gaussian:
        """Gaussians in float32."""
        mean, log_variance = self.parameters_of(self.layers(vectors)).float().chunk(2, dim=1)
        return Gaussian(mean, log_variance.clamp(*_LOG_VARIANCE))


class VectorDecoder(nn.Sequential):
    """Latent vectors to vectors: fully connected layers with ReLU, and a linear one."""

    def __init__(self, latent: int, outputs: int, hidden: Sequence[int]):
        super().__init__(*_dense([latent, *hidden]), nn.Linear(hidden[-1], outputs))


class PictureDecoder(nn.Module):
    """Latent vectors to square pictures of C channels: DCGAN's deconvolutions, without its last activation."""

    def __init__(self, latent: int, size_px: int, channels: int, width: int = 64):
        """``width``: channels of the last features; earlier ones have more, twice as many at half the size.

        Raises ``InputError`` for a size that isn't 4 px times a power of two, from 8 px on.
        """
        super().__init__()
        doublings = (size_px // _FIRST_SIDE).bit_length() - 1
        if size_px != _FIRST_SIDE * 2**doublings or doublings < 1:
            raise InputError(f"pictures of {size_px} px can't be decoded: choose 8, 16, 32, 64, 128 or 256 px")
        widths = [min(width * 2 ** (doublings - 1 - level), 8 * width) for level in range(doublings)]
        self.first = nn.Sequential(
            nn.ConvTranspose2d(latent, widths[0], _FIRST_SIDE, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.up = nn.Sequential(*(layer for a, b in pairwise(widths) for layer in _doubling(a, b)))
        self.last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B C S S"]:
        """Pictures without bounds: logits of colours, or heat maps."""
        return self.last(self.up(self.first(latent[:, :, None, None])))


def _dense(widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU(inplace=True))))


def _doubling(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    layer = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
