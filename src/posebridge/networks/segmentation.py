"""Foreground segmentation: a U-Net with a stem of stride 2 (masked reconstruction 2025, supplement, Table 6)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.encoder_decoder import Normalisation

_LEVELS = 5  # strides 2, 4, 8, 16 and 32


@dataclass(frozen=True)
class SegmentationConfig:
    """Channels. The table's own are lost; these are those of U-Net (Ronneberger et al. 2015): 64 to 1,024."""

    width: int = 64  # at strides 1 and 2; each halving doubles it
    most_channels: int = 1024

    def channels(self, level: int) -> int:
        """Channels at stride 2 ** (level + 1)."""
        return min(self.most_channels, self.width * 2**level)


class SegmentationNetwork(nn.Module):
    """Logits of the foreground. Four poolings and five upsamplings; skips from the end of each level.

    The printed table has one batch norm, after the first layer. The first convolution of every pair has one here, as
    training from initial weights needs it.
    """

    def __init__(self, config: SegmentationConfig):
        super().__init__()
        self.normalisation = Normalisation()
        channels = [config.channels(level) for level in range(_LEVELS)]
        self.stem = nn.Sequential(*_normalised(3, channels[0], stride=2))  # L1, L2
        inputs = [channels[0], *channels[:-1]]
        self.down = nn.ModuleList(_pair(a, b) for a, b in zip(inputs, channels, strict=True))  # L3 to L16
        self.up = nn.ModuleList(_pair(deep + skip, skip) for deep, skip in pairwise(channels[::-1]))  # L19 to L32
        self.last = _pair(channels[0], config.width)  # L34, L35
        self.output = nn.Conv2d(config.width, 1, 1)  # L36, without its sigmoid
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
        """Logits of the foreground for RGB images in [0, 1].

        Raises ``InputError`` for sides that aren't multiples of 32.
        """
        check_sides(images.shape[-2], images.shape[-1])
        x = self.down[0](self.stem(self.normalisation(images)))
        skips = []
        for pair in self.down[1:]:
            skips.append(x)
            x = pair(F.max_pool2d(x, 2))
        for pair in self.up:
            x = pair(torch.cat([_upsampled(x), skips.pop()], dim=1))
        return self.output(self.last(_upsampled(x)))[:, 0]


def check_sides(height_px: int, width_px: int) -> None:
    """Raise ``InputError`` for images that a segmentation network can't take."""
    multiple = 2**_LEVELS
    if height_px % multiple or width_px % multiple:
        raise InputError(
            f"a segmentation network takes images whose sides are multiples of {multiple} px, and these have "
            f"{width_px}x{height_px} px: choose another size of the crops"
        )


def _upsampled(x: Float[Tensor, "B C h w"]) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _normalised(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    second = nn.Conv2d(outputs, outputs, 3, padding=1)
    return nn.Sequential(*_normalised(inputs, outputs), second, nn.ReLU(inplace=True))
