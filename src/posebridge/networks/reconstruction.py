"""Generators that reconstruct a driving frame from a base frame (Lin et al., NeurIPS 2023, Eq. 4).

The architecture of Johnson et al.: downsampling, residual blocks, upsampling. Skip connections, the image itself among
them, are warped by the displacement field and gated by the inpainting map (Siarohin et al. 2021).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from posebridge.geometry.displacement import resize_field, sample_features
from posebridge.networks.hourglass import conv_bn_relu


@dataclass(frozen=True)
class GeneratorConfig:
    """Defaults are those of articulated animation (Siarohin et al. 2021): 64 to 256 channels."""

    channels: int = 64
    most_channels: int = 512
    halvings: int = 2
    residual_blocks: int = 6

    def width(self, level: int) -> int:
        """Channels after ``level`` halvings."""
        return min(self.most_channels, self.channels * 2**level)


class Generator(nn.Module):
    """Reconstructs the driving image from base image, displacement field and inpainting map."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.encoder = _Encoder(config)
        self.residual = _residual_blocks(config, 0)
        self.up = _up_blocks(config)
        self.last = nn.Conv2d(config.width(0), 3, 7, padding=3)

    def forward(
        self,
        base: Float[Tensor, "B 3 H W"],
        field: Float[Tensor, "B h w 2"],
        inpainting: Float[Tensor, "B 1 h w"],
    ) -> Float[Tensor, "B 3 H W"]:
        """The driving image, RGB in [0, 1].

        ``field`` holds positions in the base image, in pixels of the field's own grid. ``inpainting`` is in [0, 1], 1
        where the warped base image is used. Raises ``ValueError`` for an image whose sides 2 ** ``halvings`` doesn't
        divide.
        """
        levels = self.encoder(base)
        fields, gates = _resized(field, inpainting, [level.shape[-2:] for level in (base, *levels)])
        warped = [sample_features(level, place) for level, place in zip((base, *levels), fields, strict=True)]
        x = self.residual(gates[-1] * warped[-1])
        for i, up in enumerate(self.up, 1):
            x = up(_gated(x, warped[-i], gates[-i]))
        x = _gated(x, warped[1], gates[1])
        generated = self.last(x).sigmoid()
        return _gated(generated, warped[0], gates[0])


class HeatmapGenerator(nn.Module):
    """Reconstructs the driving image from base features and heat maps, without a warp (L_heatmap, Table 3a)."""

    def __init__(self, config: GeneratorConfig, joints: int):
        super().__init__()
        self.encoder = _Encoder(config)
        self.residual = _residual_blocks(config, 2 * joints)
        self.up = _up_blocks(config)
        self.last = nn.Conv2d(config.width(0), 3, 7, padding=3)

    def forward(
        self,
        base: Float[Tensor, "B 3 H W"],
        heat_base: Float[Tensor, "B K h w"],
        heat_driving: Float[Tensor, "B K h w"],
    ) -> Float[Tensor, "B 3 H W"]:
        """The driving image, RGB in [0, 1].

        Heat maps are in [0, 1]; they are concatenated to the features of lowest resolution. Raises ``ValueError`` if
        2 ** ``halvings`` doesn't divide the image's sides.
        """
        deepest = self.encoder(base)[-1]
        poses = F.interpolate(torch.cat([heat_base, heat_driving], 1), deepest.shape[-2:], mode="bilinear")
        x = self.residual(torch.cat([deepest, poses], dim=1))
        for up in self.up:
            x = up(x)
        return self.last(x).sigmoid()


def _gated(generated: Tensor, warped: Tensor, gate: Float[Tensor, "B 1 h w"]) -> Tensor:
    """The warped values where the gate is one, the generated ones where it is zero."""
    return torch.lerp(generated.to(warped.dtype), warped, gate.to(warped.dtype))


class _Encoder(nn.Module):
    """Features at full resolution, then after each downsampling."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.halvings = config.halvings
        self.first = conv_bn_relu(3, config.width(0), 7)
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn_relu(config.width(i), config.width(i + 1)), nn.AvgPool2d(2))
            for i in range(config.halvings)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        if any(side % 2**self.halvings for side in images.shape[-2:]):
            raise ValueError(
                f"images of {tuple(images.shape[-2:])} px can't be halved {self.halvings} times: "
                f"give sides that are multiples of {2**self.halvings}"
            )
        levels = [self.first(images)]
        for block in self.down:
            levels.append(block(levels[-1]))
        return levels


class _ResidualBlock(nn.Module):
    """x plus two convolutions, each preceded by batch norm and ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _residual_blocks(config: GeneratorConfig, extra: int) -> nn.Sequential:
    width = config.width(config.halvings)
    entry = [conv_bn_relu(width + extra, width)] if extra else []
    return nn.Sequential(*entry, *(_ResidualBlock(width) for _ in range(config.residual_blocks)))


def _up_blocks(config: GeneratorConfig) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(nn.Upsample(scale_factor=2), conv_bn_relu(config.width(i + 1), config.width(i)))
        for i in reversed(range(config.halvings))
    )


def _resized(field: Tensor, inpainting: Tensor, sizes: list[torch.Size]) -> tuple[list[Tensor], list[Tensor]]:
    """The field, in pixels of each size, and the inpainting map at each size; equal sizes share one tensor."""
    cache: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
    for size in map(tuple, sizes):
        if size not in cache:
            gate = F.interpolate(inpainting, size, mode="bilinear", align_corners=False)
            cache[size] = (resize_field(field, *size), gate)
    pairs = [cache[tuple(size)] for size in sizes]
    return [field for field, _ in pairs], [gate for _, gate in pairs]
