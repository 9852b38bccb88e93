"""Style transfer by adaptive instance normalisation (Huang and Belongie, ICCV 2017).

A frozen encoder, the exchange of channel statistics between two images' deepest features, and a decoder that is
trained to turn features back into pictures. An encoder is any module that takes RGB in [0, 1] and returns a list of
feature maps, shallow to deep, the last of which is exchanged: the paper's VGG-19, a narrow VGG for small images on a
CPU (``networks.vgg``), or the encoder of a pose network that has seen the source.
"""

import copy
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.vgg import initialise_convolutions


def channel_statistics(
    features: Float[Tensor, "B C h w"], eps: float = 1e-5
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Eq. 5 and 6: mean and standard deviation of each channel of each sample, over space."""
    variance, mean = torch.var_mean(features.float(), dim=(2, 3), correction=0)
    return mean, (variance + eps).sqrt()


def adain(
    content: Float[Tensor, "B C h w"], style: Float[Tensor, "B C h2 w2"], eps: float = 1e-5
) -> Float[Tensor, "B C h w"]:
    """Eq. 8: the content's features with the style's mean and standard deviation in every channel."""
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
    content_weight: float = 1.0
    style_weight: float = 0.1
    # An image in its own style must come back (Park and Lee, CVPR 2019, Eq. 7). Not in the paper; features that saw
    # no training say too little about pixels without it.
    identity_weight: float = 0.0

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms of ``StyleTransfer.losses``; terms of weight zero are absent."""
        weights = {"content": self.content_weight, "style": self.style_weight, "identity": self.identity_weight}
        return {name: weight for name, weight in weights.items() if weight > 0}


class Decoder(nn.Sequential):
    """The encoder backwards: nearest up-sampling instead of pooling, reflection padding, no normalisation."""

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
    """A frozen copy of ``encoder`` and a decoder to train; only the decoder's parameters have gradients.

    Raises ``ValueError`` where the decoder doesn't undo the encoder's stride.
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
                f"the encoder ends at stride {side // deepest.shape[-1]}, {len(config.widths)} decoder widths undo "
                f"stride {self.stride}"
            )
        self.decoder = Decoder(deepest.shape[1], config).to(probe)

    def train(self, mode: bool = True) -> Self:
        """As usual, but the frozen encoder keeps its batch-norm statistics."""
        super().train(mode)
        self.encoder.eval()
        return self

    def encode(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        """The frozen encoder's features, shallow to deep. ``InputError`` for sides that its stride doesn't divide."""
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise InputError(
                f"style transfer can't take images of {width} x {height} px: both must be multiples of {self.stride}"
            )
        return self.encoder(images)

    @torch.no_grad()
    def transfer(
        self,
        content: Float[Tensor, "B 3 H W"],
        style: Float[Tensor, "B 3 H2 W2"],
        alpha: Float[Tensor, "B"],
    ) -> Float[Tensor, "B 3 H W"]:
        """Eq. 14: pictures of ``content`` in the look of ``style``, from none of it (alpha 0) to all (1); in [0, 1]."""
        f_c, f_s = self.encode(content)[-1], self.encode(style)[-1]
        mixed = torch.lerp(f_c, adain(f_c, f_s), alpha.to(f_c).view(-1, 1, 1, 1))
        return self.decoder(mixed).clamp(0, 1)

    def losses(
        self, content: Float[Tensor, "B 3 H W"], style: Float[Tensor, "B 3 H2 W2"]
    ) -> dict[str, Float[Tensor, "B"]]:
        """What the decoder is trained on, per sample and unweighted: the terms of ``config.weights`` (Eq. 11).

        Gradients pass through the frozen encoder to the decoder.
        """
        wanted = self.config.weights
        with torch.no_grad():
            f_c, styles = self.encode(content)[-1], self.encode(style)
            t = adain(f_c, styles[-1])  # Eq. 9
        terms = {}
        if "content" in wanted or "style" in wanted:
            redrawn = self.encode(self.decoder(t))  # Eq. 10
            if "content" in wanted:
                terms["content"] = (redrawn[-1] - t).square().mean(dim=(1, 2, 3))  # Eq. 12
            if "style" in wanted:
                terms["style"] = _statistics_loss(redrawn, styles)
        if "identity" in wanted:
            terms["identity"] = (self.decoder(f_c) - content).square().mean(dim=(1, 2, 3))
        return terms


def _statistics_loss(redrawn: list[Tensor], styles: list[Tensor]) -> Float[Tensor, "B"]:
    """Eq. 13: means and standard deviations of every level."""
    levels = []
    for ours, theirs in zip(redrawn, styles, strict=True):
        (mean, std), (wanted_mean, wanted_std) = channel_statistics(ours), channel_statistics(theirs)
        levels.append((mean - wanted_mean).square().mean(dim=1) + (std - wanted_std).square().mean(dim=1))
    return torch.stack(levels).sum(dim=0)
