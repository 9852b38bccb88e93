"""Holes cut into depth pictures, so that a network learns to do without a part (Ren et al., CVPR 2022, Sec. 3.4)."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def erased(
    depth_m: Float[Tensor, "B H W"], generator: Generator, share: float = 0.5, side: tuple[float, float] = (0.1, 0.3)
) -> Float[Tensor, "B H W"]:
    """Depth with one rectangle missing in a ``share`` of the pictures ; its sides are shares of theirs."""
    B, height, width = depth_m.shape
    draws = torch.rand(B, 5, generator=generator).to(depth_m)
    extent = side[0] + (side[1] - side[0]) * draws[:, :2]
    corner = draws[:, 2:4] * (1 - extent)
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([(v + 0.5) / height, (u + 0.5) / width], dim=-1).to(depth_m)
    low, high = corner[:, None, None], (corner + extent)[:, None, None]
    gone = ((place >= low) & (place < high)).all(-1) & (draws[:, 4, None, None] < share)
    return depth_m.masked_fill(gone, 0)
