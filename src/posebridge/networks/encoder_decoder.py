"""A timm encoder with three deconvolutions: the common base of the networks for poses."""

from dataclasses import dataclass

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.networks.encoders import create_encoder, feature_info


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of pixels in [0, 1] that become 0 and 1 for the encoder, of all three channels."""

    mean: float = 0.45
    std: float = 0.25

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The encoder's input."""
        return (images - self.mean) / self.std


class EncoderDecoder(nn.Module):
    """Images to features at an eighth of the stride of the encoder's deepest ones (Xiao et al. 2018)."""

    def __init__(
        self,
        encoder: str,
        pretrained: str,
        stride: int,
        width: int,
        skips: bool,
        normalisation: Normalisation | None = None,
    ):
        """``encoder`` is any timm model that has features_only, ``pretrained`` as in ``create_encoder``.

        ``stride`` is that of the deepest encoder features in use, ``width`` the decoder's channels. With ``skips`` the
        decoder adds the encoder's shallower features. Raises ``InputError`` as ``create_encoder`` does.
        """
        super().__init__()
        self.normalisation = normalisation or Normalisation()
        self.encoder_name, self.encoder_stride = encoder, stride
        self.encoder = create_encoder(encoder, pretrained, stride)
        info = feature_info(self.encoder)
        levels = {reduction: i for i, reduction in enumerate(info.reduction())}
        channels = info.channels()
        self.deconvolutions = nn.ModuleList()
        self.laterals = nn.ModuleList()
        inputs, above = channels[-1], stride
        for _ in range(3):
            self.deconvolutions.append(_deconvolution(inputs, width))
            inputs, above = width, above // 2
            has_skip = skips and above in levels
            self.laterals.append(nn.Conv2d(channels[levels[above]], width, 1) if has_skip else nn.Identity())
        self.skip_levels = [levels.get(stride >> i, -1) if skips else -1 for i in (1, 2, 3)]
        self.encoder_channels = channels[-1]
        self.to(memory_format=torch.channels_last)  # a step takes two thirds of the time; features keep the format

    @property
    def map_stride(self) -> int:
        """Side of a map pixel in image pixels."""
        return self.encoder_stride // 8

    def features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        """The encoder's features, shallow to deep. Images are RGB in [0, 1]."""
        return self.encoder(self.normalisation(images))

    def upwards(self, features: list[Tensor]) -> Float[Tensor, "B C h w"]:
        """The decoder's features from the encoder's."""
        x = features[-1]
        for deconvolution, lateral, level in zip(self.deconvolutions, self.laterals, self.skip_levels, strict=True):
            x = deconvolution(x)
            if level >= 0:
                x = x + lateral(features[level])
        return x

    def shallow_encoder(self, levels: int) -> nn.Module:
        """A copy of the encoder that ends at its first ``levels`` features."""
        reductions = feature_info(self.encoder).reduction()[:levels]
        with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten, so they must draw no numbers
            encoder = timm.create_model(
                self.encoder_name, pretrained=False, features_only=True, out_indices=tuple(range(len(reductions)))
            )
        weights = self.encoder.state_dict()
        encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
        return encoder.to(next(self.parameters()).device)


def _deconvolution(inputs: int, outputs: int) -> nn.Sequential:
    deconvolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(deconvolution.weight, mode="fan_in", nonlinearity="relu")
    return nn.Sequential(deconvolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
