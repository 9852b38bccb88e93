"""Rectangular holes in depth pictures, an augmentation of Ren et al., CVPR 2022, Sec. 3.4."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from posebridge.rendering.photometry import erase


def erased(
    depth_m: Float[Tensor, "B H W"], generator: Generator, share: float = 0.5, side: tuple[float, float] = (0.1, 0.3)
) -> Float[Tensor, "B H W"]:
    """Depth with one rectangle missing in a ``share`` of the pictures.

    ``side`` is the range of the rectangle's sides, as fractions of the picture's.
    """
    draws = torch.rand(len(depth_m), 5, generator=generator)
    extent = side[0] + (side[1] - side[0]) * draws[:, :2]
    centre = draws[:, 2:4] * (1 - extent) + extent / 2
    sides = extent * (draws[:, 4:] < share)
    # Drawn by rows and columns; boxes are given by x and y.
    return erase(depth_m[:, None], centre.flip(1), sides.flip(1), torch.zeros(len(depth_m), 1))[:, 0]
