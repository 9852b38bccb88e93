"""Weights of modules as safetensors files, which hold tensors and names and no code."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from posebridge.contracts.files import write_atomically
from posebridge.errors import InputError


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights, whole or not at all. Raises ``InputError`` where the folder or the disk refuses."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    write_atomically(path, save(tensors))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. Raises ``InputError`` for a missing, truncated or other file."""
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give a file of weights (.safetensors)") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error})") from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Load weights into a module that must have exactly these tensors.

    Raises ``InputError`` for weights of another network; the message names the first tensor that differs.
    """
    tensors = read_weights(path)
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own or own[name].shape != tensors[name].shape:
            there = tuple(tensors[name].shape) if name in tensors else "absent"
            here = tuple(own[name].shape) if name in own else "absent"
            raise InputError(f"{path} holds weights of another network: {name} is {there} there and {here} here")
    with torch.no_grad():
        module.load_state_dict(tensors)
