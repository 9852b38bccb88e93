"""Frozen VGG features for style and perceptual losses (Simonyan and Zisserman 2015).

Every encoder here takes RGB in [0, 1] and returns a list of feature maps, shallow to deep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from jaxtyping import Float
from timm.models import load_state_dict_from_hf
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.weights import read_weights
from posebridge.regular_files import check_regular

_HUB_ID = "timm/vgg19.tv_in1k"
_ADVICE = "give a local weights file (--feature-weights FILE) or use none (--feature-weights none)"


@dataclass(frozen=True)
class VggConfig:
    """Convolutions of a VGG up to the first of its last block. Defaults: VGG-19 up to relu4_1."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (2, 2, 4, 1)
    # "none" (random features), "timm" (download), or the path of a local file with the tensors of timm's or
    # torchvision's vgg19 (.safetensors or .pth).
    pretrained: str = "timm"


class VggEncoder(nn.Module):
    """Features after the first ReLU of each block (relu1_1, relu2_1, ...), with reflection padding.

    Raises ``InputError`` if the weights can't be downloaded or read, or don't fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: VggConfig):
        super().__init__()
        layers: list[nn.Module] = []
        self._taps: list[int] = []
        inputs = 3
        for block, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            if block > 0:
                layers.append(nn.MaxPool2d(2))
            self._taps.append(len(layers) + 1)
            for _ in range(depth):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
                inputs = width
        self.features = nn.Sequential(*layers)  # numbered as timm and torchvision number them
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        if config.pretrained == "none":
            initialise_convolutions(self)
        else:
            self._load(config.pretrained)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        """Features of RGB images in [0, 1], shallow to deep."""
        x = (images - self.mean) / self.std
        features = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._taps:
                features.append(x)
        return features

    def _load(self, pretrained: str) -> None:
        tensors = _download() if pretrained == "timm" else _read(Path(pretrained))
        expected = self.state_dict()
        for name, value in expected.items():
            if name not in tensors or tensors[name].shape != value.shape:
                actual = tuple(tensors[name].shape) if name in tensors else "absent"
                raise InputError(
                    f"{pretrained}: the weights don't fit this VGG: {name} is {actual}, "
                    f"not {tuple(value.shape)}; {_ADVICE}"
                )
        self.load_state_dict({name: tensors[name] for name in expected})


def _download() -> dict[str, Tensor]:
    try:
        return load_state_dict_from_hf(_HUB_ID)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights {_HUB_ID} could not be downloaded ({type(error).__name__}): {_ADVICE}"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_weights(path)
    try:
        check_regular(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(f"{path} can't be read as weights ({type(error).__name__}): {_ADVICE}") from error


def initialise_convolutions(module: nn.Module) -> None:
    """Initialises convolutions by He et al. (2015), which preserves variance through ReLUs; biases are zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


class NormalisedEncoder(nn.Module):
    """An encoder (of timm, for example) preceded by the image normalisation that it was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, mean: float | Sequence[float] = 0.45, std: float | Sequence[float] = 0.25):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.as_tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.as_tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        """Features of RGB in [0, 1], shallow to deep."""
        return self.encoder((images - self.mean) / self.std)
