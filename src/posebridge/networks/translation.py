"""Image-to-image translation between two domains: the networks of CycleGAN (Zhu et al., ICCV 2017, appendix 7.2)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class TranslatorConfig:
    """Defaults are CycleGAN's, for one channel."""

    channels: int = 64
    blocks: int = 9  # residual, at a quarter of the size
    discriminator_channels: int = 64
    discriminator_halvings: int = 3  # three give the patches of 70 px of PatchGAN


class Translator(nn.Module):
    """Predicts the difference that translates a picture: downsampling by 4, residual blocks, upsampling by 4.

    The last layer is initialised to zero, so training starts from the identity and keeps the geometry of the labels.
    """

    def __init__(self, config: TranslatorConfig):
        super().__init__()
        widths = [config.channels * 2**i for i in range(3)]
        self.layers = nn.Sequential(
            _convolution(1, widths[0], 7),
            _convolution(widths[0], widths[1], 3, stride=2),
            _convolution(widths[1], widths[2], 3, stride=2),
            *(_Residual(widths[2]) for _ in range(config.blocks)),
            nn.Upsample(scale_factor=2),
            _convolution(widths[2], widths[1], 3),
            nn.Upsample(scale_factor=2),
            _convolution(widths[1], widths[0], 3),
        )
        self.last = nn.Conv2d(widths[0], 1, 7, padding=3, padding_mode="reflect")
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, picture: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """The translated picture, in the input's range up to a small excess. Sides must be multiples of four."""
        return picture + self.last(self.layers(picture))


class Discriminator(nn.Module):
    """PatchGAN discriminator: 1 for patches of its own domain, 0 for translated ones."""

    def __init__(self, config: TranslatorConfig):
        super().__init__()
        width = config.discriminator_channels
        layers: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(1, config.discriminator_halvings + 1):
            stride = 1 if i == config.discriminator_halvings else 2
            deeper = min(8 * config.discriminator_channels, 2 * width)
            layers += [nn.Conv2d(width, deeper, 4, stride, 1), nn.InstanceNorm2d(deeper), nn.LeakyReLU(0.2)]
            width = deeper
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, picture: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 h w"]:
        """One score per patch, without an activation."""
        return self.layers(picture)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first = _convolution(width, width, 3)
        second = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False)
        self.second = nn.Sequential(second, nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="reflect", bias=False)
    return nn.Sequential(layer, nn.InstanceNorm2d(outputs), nn.ReLU(inplace=True))
