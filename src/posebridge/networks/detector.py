"""A small convolutional network that predicts centres, sides and handedness of subjects in whole images.

Its convolutions are plain: on CPUs they run several times faster than the depthwise ones of mobile networks with as
many operations.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.contracts.subjects import SUBJECT_KINDS
from posebridge.networks.encoder_decoder import Normalisation

STRIDE = 8  # of the maps
_PRIOR = 0.02  # initial probability of a centre, so that the many empty cells don't dominate the first steps
_UNIT_PX = 32.0  # predicted distance at an output of 0
_LARGEST_LOG = 4.0  # of a predicted distance: 55 units


@dataclass(frozen=True)
class DetectorConfig:
    """Widths of the network."""

    widths: tuple[int, ...] = (16, 32, 64, 128, 160)  # at strides 2, 4, 8, 16, 32
    blocks: tuple[int, ...] = (0, 1, 1, 2, 1)  # residual blocks at each stride, after its first convolution
    head_width: int = 64


@dataclass(frozen=True)
class DetectorMaps:
    """Output for B images and K kinds of subjects."""

    centre_logits: Float[Tensor, "B K h w"]
    distances_px: Float[Tensor, "B K 4 h w"]  # from a cell to the left, upper, right and lower side of its box
    right_logits: Float[Tensor, "B h w"]  # of a right hand


class DetectorNetwork(nn.Module):
    """An encoder to stride 32, whose features are added upwards to stride 8, and one head."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.normalisation = Normalisation()
        self.stages = nn.ModuleList()
        channels = 3
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            residual = (Residual(width) for _ in range(blocks))
            self.stages.append(nn.Sequential(_convolution(channels, width, 2), *residual))
            channels = width
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.head_width, 1) for width in config.widths[2:])
        self.head = nn.Sequential(
            _convolution(config.head_width, config.head_width), _convolution(config.head_width, config.head_width)
        )
        self.kinds = len(SUBJECT_KINDS)
        self.output = nn.Conv2d(config.head_width, 5 * self.kinds + 1, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        bias = torch.zeros(5 * self.kinds + 1)
        bias[: self.kinds] = torch.logit(torch.tensor(_PRIOR))
        self.output.bias = nn.Parameter(bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Raw output for RGB images in [0, 1] whose sides are multiples of 32; see ``maps``."""
        x, features = self.normalisation(images), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        x = self.laterals[-1](features[-1])
        for lateral, feature in zip(self.laterals[-2::-1], features[-2:1:-1], strict=True):
            x = F.interpolate(x, size=feature.shape[-2:], mode="nearest") + lateral(feature)
        return self.output(self.head(x))

    def maps(self, output: Float[Tensor, "B C h w"]) -> DetectorMaps:
        """The maps of a raw output."""
        k = self.kinds
        logs = output[:, k : 5 * k].unflatten(1, (k, 4)).clamp(-_LARGEST_LOG, _LARGEST_LOG)
        return DetectorMaps(output[:, :k], _UNIT_PX * torch.exp(logs), output[:, 5 * k])


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int):
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The block's output."""
        return F.relu(x + self.second(self.first(x)), inplace=True)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
