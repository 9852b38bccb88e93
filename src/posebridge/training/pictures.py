"""Images of training as pictures of the report."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor


def as_picture(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """An RGB image in [0, 1] with 8 bits a channel; values outside are clamped."""
    return as_bytes(image.permute(1, 2, 0))


def as_bytes(values: Tensor) -> UInt8[np.ndarray, "..."]:
    """Values in [0, 1] with 8 bits each; values outside are clamped."""
    return (values.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
