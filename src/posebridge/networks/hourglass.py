"""The hourglass network: an encoder and a decoder with skip connections."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class HourglassConfig:
    """Defaults: five blocks from 64 channels to 1024 (Lin et al., NeurIPS 2023, supplement A; Siarohin et al. 2021)."""

    blocks: int = 5  # each halves the size; sides must be multiples of 2 ** blocks
    channels: int = 32  # the first block's are twice as many
    most_channels: int = 1024

    def width(self, level: int) -> int:
        """Channels after ``level`` blocks."""
        return min(self.most_channels, self.channels * 2**level)


class Hourglass(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 mean pooling; the decoder upsamples by nearest neighbour."""

    def __init__(self, config: HourglassConfig, inputs: int):
        super().__init__()
        self.config = config
        down = [inputs, *(config.width(level) for level in range(1, config.blocks + 1))]
        self.down = nn.ModuleList(conv_bn_relu(a, b) for a, b in pairwise(down))
        self.up = nn.ModuleList()
        deeper = down[-1]
        for level in range(config.blocks - 1, -1, -1):
            self.up.append(conv_bn_relu(deeper, config.width(level)))
            deeper = config.width(level) + down[level]
        self.outputs = deeper

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Features of the input's size. Raises ``ValueError`` for sides that aren't multiples of 2 ** blocks."""
        if any(side % 2**self.config.blocks for side in x.shape[-2:]):
            raise ValueError(
                f"an hourglass of {self.config.blocks} blocks needs sides that are multiples of "
                f"{2**self.config.blocks}, got {tuple(x.shape[-2:])}"
            )
        skips = [x]
        for block in self.down:
            skips.append(F.avg_pool2d(block(skips[-1]), 2))
        x = skips.pop()
        for block in self.up:
            x = torch.cat([block(F.interpolate(x, scale_factor=2)), skips.pop()], dim=1)
        return x


def conv_bn_relu(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
