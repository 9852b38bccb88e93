"""A timm encoder with three deconvolutions: the common base of the networks for poses."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from timm.models import FeatureInfo
from torch import Tensor, nn

from posebridge.errors import InputError, last_line

_UNREADABLE = (UnpicklingError, SafetensorError)


class EncoderDecoder(nn.Module):
    """Images to features at an eighth of the stride of the encoder's deepest ones (Xiao et al. 2018)."""

    def __init__(self, encoder: str, pretrained: str, stride: int, width: int, skips: bool):
        """``encoder`` is any timm model that has features_only, ``pretrained`` "none", "timm" or a local weights file.

        ``stride`` is that of the deepest encoder features in use, ``width`` the decoder's channels. With ``skips`` the
        decoder adds the encoder's shallower features. Raises ``InputError`` as ``create_encoder`` does.
        """
        super().__init__()
        self.encoder_name, self.encoder_stride = encoder, stride
        self.encoder = create_encoder(encoder, pretrained, stride)
        info = _feature_info(self.encoder)
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
        return self.encoder((images - 0.45) / 0.25)

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
        reductions = _feature_info(self.encoder).reduction()[:levels]
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


def _feature_info(encoder: nn.Module) -> FeatureInfo:
    return cast(FeatureInfo, encoder.feature_info)


def create_encoder(name: str, pretrained: str, stride: int) -> nn.Module:
    """A timm encoder that ends at features of the given stride and returns all features, shallow to deep.

    Raises ``InputError`` for an unknown name, a missing stride, or weights that can't be loaded.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise InputError(f"timm has no model {name!r}" + (f"; near it: {near}" if near else ""))
    reductions = _feature_info(timm.create_model(name, features_only=True, pretrained=False)).reduction()
    if stride not in reductions or stride < 8:
        usable = [reduction for reduction in reductions if reduction >= 8]
        raise InputError(f"encoder {name} has no features of stride {stride} to make maps of: choose from {usable}")
    options = {"features_only": True, "out_indices": tuple(range(reductions.index(stride) + 1))}
    if pretrained == "none":
        return timm.create_model(name, pretrained=False, **options)
    if pretrained == "timm":
        try:
            return timm.create_model(name, pretrained=True, **options)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"the weights of {name} could not be downloaded ({type(error).__name__}): "
                "give a local file as pretrained, or pretrained=none to start from random weights"
            ) from error
    if not Path(pretrained).is_file():
        raise InputError(f"pretrained={pretrained}: no such file; give 'none', 'timm' or a weights file")
    return _encoder_from_file(name, pretrained, options)


def _encoder_from_file(name: str, path: str, options: dict[str, Any]) -> nn.Module:
    """An encoder with weights from a file. timm ignores missing tensors, so they are checked here first."""
    try:
        stored = {_flat(key) for key in timm.models.load_state_dict(path)}
        needed = timm.create_model(name, pretrained=False, **options).state_dict()
        missing = [key for key in needed if _flat(key) not in stored and not key.endswith("num_batches_tracked")]
        if missing:
            raise InputError(f"pretrained={path} doesn't hold weights of {name} under timm's names: no {missing[0]}")
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": path}, **options)
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, *_UNREADABLE) as error:
        cause = last_line(error)
        raise InputError(f"pretrained={path} can't be read as weights of {name}: {cause}") from error


def _flat(key: str) -> str:
    """A tensor's name without levels: timm nests a whole network and its feature extractor differently."""
    return key.replace(".", "_")
