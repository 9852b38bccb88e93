"""Devices of PyTorch by their names."""

import torch

from posebridge.errors import InputError, first_line


def usable_device(name: str) -> torch.device:
    """A device by its name; "auto" is a GPU where there is one. Raises ``InputError`` for one that isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise InputError(f"device {name} can't be used ({reason}): give auto, cpu or cuda") from error
    return device
