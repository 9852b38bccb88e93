"""Style transfer by adaptive instance normalisation (AdaIN; Huang and Belongie, ICCV 2017).

A frozen encoder computes features, AdaIN replaces the channel statistics of the deepest ones, and a trained decoder
turns them back into images. An encoder is any module that takes RGB in [0, 1] and returns a list of feature maps,
shallow to deep: the paper's VGG-19 (``networks.vgg``) or the encoder of a pose network trained on the source.
"""

import copy
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from posebridge.errors import InputError
from posebridge.networks.vgg import initialise_convolutions


def channel_statistics(
    features: Float[Tensor, "B C h w"], eps: float = 1e-5
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Mean and standard deviation of each channel of each sample over space (Eq. 5 and 6)."""
    variance, mean = torch.var_mean(features.float(), dim=(2, 3), correction=0)
    return mean, (variance + eps).sqrt()


def adain(
    content: Float[Tensor, "B C h w"], style: Float[Tensor, "B C h2 w2"], eps: float = 1e-5
) -> Float[Tensor, "B C h w"]:
    """The content's features with the style's mean and standard deviation in every channel (Eq. 8)."""
    (mu_x, sigma_x), (mu_y, sigma_y) = (
        (mean[:, :, None, None], std[:, :, None, None])
        for mean, std in (channel_statistics(content, eps), channel_statistics(style, eps))
    )
    return (sigma_y * (content - mu_x) / sigma_x + mu_y).to(content.dtype)


@dataclass(frozen=True)
class StyleTransferConfig:
    """The decoder and the weights of its losses. Defaults mirror VGG-19 up to relu4_1.

    Trained as UniFrame trains it: Adam 1e-5, batches of 16, up to 500,000 iterations.
    """

    widths: tuple[int, ...] = (256, 128, 64)  # one per doubling of the size, deep to shallow
    depths: tuple[int, ...] = (3, 1, 1)  # further convolutions at each size
    # Factor by which images are reduced before the transfer, which takes so much less time by its square. What they
    # lose is added again, so that the result is as sharp as the content. 1: as in the paper.
    reduction: int = 1
    content_weight: float = 1.0
    style_weight: float = 0.1
    # An image in its own style is reconstructed (Park and Lee, CVPR 2019, Eq. 7). Not in the paper; the features of an
    # untrained encoder need it to determine pixels.
    identity_weight: float = 0.0

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms of ``StyleTransfer.losses``; terms of weight zero are absent."""
        weights = {"content": self.content_weight, "style": self.style_weight, "identity": self.identity_weight}
        return {name: weight for name, weight in weights.items() if weight > 0}


class Decoder(nn.Sequential):
    """Mirrors the encoder: nearest upsampling in place of pooling, reflection padding, no normalisation."""

    def __init__(self, inputs: int, config: StyleTransferConfig):
        layers = [*_convolution(inputs, config.widths[0])]
        for width, following, depth in zip(config.widths, (*config.widths[1:], None), config.depths, strict=True):
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            for _ in range(depth):
                layers += _convolution(width, width)
            if following is not None:
                layers += _convolution(width, following)
        layers.append(nn.Conv2d(config.widths[-1], 3, 3, padding=1, padding_mode="reflect"))
        super().__init__(*layers)
        initialise_convolutions(self)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"), nn.ReLU()


class StyleTransfer(nn.Module):
    """A frozen copy of ``encoder`` and a trainable decoder.

    Raises ``ValueError`` if the decoder's upsampling doesn't match the encoder's stride.
    """

    def __init__(self, encoder: nn.Module, config: StyleTransferConfig):
        super().__init__()
        self.config = config
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.stride = 2 ** len(config.widths)
        side = 8 * self.stride
        probe = next(self.encoder.parameters()).new_zeros(1, 3, side, side)
        with torch.no_grad():
            deepest = self.encoder(probe)[-1]
        if deepest.shape[-1] != 8:
            raise ValueError(
                f"the encoder's stride is {side // deepest.shape[-1]}, but {len(config.widths)} decoder widths "
                f"upsample by {self.stride}: give one width for each halving of the encoder"
            )
        self.decoder = Decoder(deepest.shape[1], config).to(probe)
        self.to(memory_format=torch.channels_last)  # takes half of the time in half precision

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of the decoder; the encoder stays in evaluation mode and keeps its statistics."""
        super().train(mode)
        self.encoder.eval()
        return self

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        """Features of the frozen encoder, shallow to deep.

        Raises ``InputError`` for images whose sides aren't multiples of its stride.
        """
        self._check_size(images, self.stride)
        return self.encoder(images)

    def _reduced(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        """The images at the size of the transfer. Raises ``InputError`` for sides that don't fit."""
        self._check_size(images, self.stride * self.config.reduction)
        return images if self.config.reduction == 1 else F.avg_pool2d(images, self.config.reduction)

    @staticmethod
    def _check_size(images: Tensor, divisor: int) -> None:
        height, width = images.shape[-2:]
        if height % divisor or width % divisor:
            raise InputError(
                f"style transfer can't take images of {width} x {height} px: both must be multiples of {divisor}"
            )

    @torch.no_grad()
    def transfer(
        self,
        content: Float[Tensor, "B 3 H W"],
        style: Float[Tensor, "B 3 H2 W2"],
        alpha: Float[Tensor, "B"],
    ) -> Float[Tensor, "B 3 H W"]:
        """Images of ``content`` in the style of ``style``, RGB in [0, 1] (Eq. 14).

        ``alpha`` interpolates from the content's features (0) to those with the style's statistics (1).
        """
        reduced = self._reduced(content)
        f_c, f_s = self.encode(reduced)[-1], self.encode(self._reduced(style))[-1]
        mixed = torch.lerp(f_c, adain(f_c, f_s), alpha.to(f_c).view(-1, 1, 1, 1))
        restyled = self.decoder(mixed).to(content.dtype)
        if self.config.reduction > 1:
            change = F.interpolate(restyled - reduced, content.shape[-2:], mode="bilinear", align_corners=False)
            restyled = content + change
        return restyled.clamp(0, 1)

    def losses(
        self, content: Float[Tensor, "B 3 H W"], style: Float[Tensor, "B 3 H2 W2"]
    ) -> dict[str, Float[Tensor, "B"]]:
        """Loss terms of the decoder (Eq. 11), unweighted, one value a sample; named as ``config.weights`` are.

        Gradients pass through the frozen encoder to the decoder.
        """
        weights = self.config.weights
        content, style = self._reduced(content), self._reduced(style)
        with torch.no_grad():
            f_c, styles = self.encode(content)[-1], self.encode(style)
            t = adain(f_c, styles[-1])  # Eq. 9
        terms = {}
        if "content" in weights or "style" in weights:
            stylised = self.encode(self.decoder(t))  # Eq. 10
            if "content" in weights:
                terms["content"] = (stylised[-1] - t).square().mean(dim=(1, 2, 3))  # Eq. 12
            if "style" in weights:
                terms["style"] = _statistics_loss(stylised, styles)
        if "identity" in weights:
            terms["identity"] = (self.decoder(f_c) - content).square().mean(dim=(1, 2, 3))
        return terms


def _statistics_loss(stylised: list[Tensor], styles: list[Tensor]) -> Float[Tensor, "B"]:
    """Squared differences of means and standard deviations, summed over levels (Eq. 13)."""
    levels = []
    for features, target in zip(stylised, styles, strict=True):
        (mean, std), (target_mean, target_std) = channel_statistics(features), channel_statistics(target)
        levels.append((mean - target_mean).square().mean(dim=1) + (std - target_std).square().mean(dim=1))
    return torch.stack(levels).sum(dim=0)
