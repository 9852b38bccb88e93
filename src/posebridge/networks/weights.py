"""Weights of modules as safetensors files, which hold tensors, names, a checksum and no code."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from posebridge.contracts.files import write_atomically
from posebridge.errors import InputError
from posebridge.regular_files import read_file

_CHECKSUM = "sha256"  # in the header: of all bytes behind the header


def save_weights(module: nn.Module, path: Path, half: bool = False) -> None:
    """Write a module's weights, whole or not at all, with a checksum in the header.

    ``half`` stores floating-point numbers with 16 bits; ``load_weights`` turns them into the module's type.
    Raises ``InputError`` for weights that are not finite, and where the folder or the disk refuses.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    if name := _not_finite(tensors):
        raise InputError(f"{path} isn't written: the weights {name} are not finite, so training has diverged")
    write_atomically(path, save(tensors, {_CHECKSUM: _split(save(tensors))[1]}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises ``InputError`` for a missing, truncated, damaged or other file, and for weights that are not finite.
    """
    try:
        content = read_file(path)
        tensors = load(content)
        header, checksum = _split(content)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give a file of weights (.safetensors)") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error})") from error
    if header.get("__metadata__", {}).get(_CHECKSUM, checksum) != checksum:  # files of others have no checksum
        raise InputError(f"{path} is damaged, its checksum differs: restore it or train it again")
    if name := _not_finite(tensors):
        raise InputError(f"{path}: the weights {name} are not finite: restore them or train them again")
    return tensors


def load_weights(module: nn.Module, path: Path) -> None:
    """Load weights into a module that must have exactly these tensors.

    Raises ``InputError`` as ``read_weights``, and for weights of another network; the message names the first tensor
    that differs.
    """
    tensors = read_weights(path)
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own or own[name].shape != tensors[name].shape:
            there = tuple(tensors[name].shape) if name in tensors else "absent"
            here = tuple(own[name].shape) if name in own else "absent"
            raise InputError(f"{path} holds weights of another network: {name} is {there} there and {here} here")
        if own[name].is_floating_point() != tensors[name].is_floating_point():
            raise InputError(f"{path}: the weights {name} are {tensors[name].dtype}, expected {own[name].dtype}")
    with torch.no_grad():
        module.load_state_dict(tensors)


def _not_finite(tensors: dict[str, Tensor]) -> str | None:
    """The name of the first tensor with NaN or infinity."""
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def _split(content: bytes) -> tuple[dict, str]:
    """The header of a safetensors file, and the checksum of all that follows."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), hashlib.sha256(content[8 + length :]).hexdigest()
