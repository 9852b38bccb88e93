"""NVIDIA Warp beside torch: started quietly, run on torch's device and stream, arrays shared and never copied."""

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
    """Initialise Warp. Without a GPU its native code warns on stderr, past every setting; that line is dropped."""
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
    """Run a kernel on torch's device and stream. Inputs are what the kernel takes; ``vectors`` and ``numbers`` make
    them of tensors.
    """
    stream = wp.stream_from_torch(device) if device.type == "cuda" else None
    wp.launch(kernel, dim=dim, inputs=inputs, device=wp.device_from_torch(device), stream=stream)


def vectors(tensor: Tensor) -> Any:
    """A tensor (..., 3) of float32 as an array of vectors."""
    return wp.from_torch(tensor.contiguous(), dtype=wp.vec3)


def numbers(tensor: Tensor) -> Any:
    """A tensor as an array of its numbers."""
    return wp.from_torch(tensor.contiguous())
