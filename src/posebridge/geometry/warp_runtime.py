"""NVIDIA Warp on torch's device and stream; arrays share memory with tensors."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
import warp as wp
from torch import Tensor

wp.config.log_level = wp.LOG_WARNING  # no banner, no line for each compiled kernel


@functools.cache
def start_warp() -> None:
    """Initialise Warp. Without a GPU its native code prints a warning on stderr; it is suppressed."""
    if torch.cuda.is_available():
        wp.init()
        return
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            wp.init()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def launch(kernel: Callable[..., None], dim: tuple[int, ...], inputs: Sequence[Any], device: torch.device) -> None:
    """Run a kernel on torch's device and stream.

    ``inputs`` are the kernel's arguments; convert tensors by ``vectors`` or ``numbers``.
    """
    stream = wp.stream_from_torch(device) if device.type == "cuda" else None
    wp.launch(kernel, dim=dim, inputs=inputs, device=wp.device_from_torch(device), stream=stream)


def vectors(tensor: Tensor) -> Any:
    """A float32 tensor (..., 3) as a Warp array of 3-vectors."""
    return wp.from_torch(tensor.contiguous(), dtype=wp.vec3)


def numbers(tensor: Tensor) -> Any:
    """A tensor as a Warp array of scalars."""
    return wp.from_torch(tensor.contiguous())
