"""Unions of circles in the image: signed distance and coverage of pixels, both differentiable.

SemiHand approximates the mask of a hand by circles (Yang et al., ICCV 2021; Eq. 6.12 to 6.14 of Yang's dissertation,
2022). Lengths have any unit.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def union_distance(
    centres: Float[Tensor, "B N 2"], radii: Float[Tensor, "B N"], points: Float[Tensor, "P 2"]
) -> Float[Tensor, "B P"]:
    """Distance of points to the nearest circle: min over i of |g - c_i| - r_i, negative inside of the union.

    The nearest circle is found without gradient, circle by circle; its distance alone is then computed with gradient.
    Memory is that of a few maps, whatever N is.
    """
    nearest = _nearest(centres.detach(), radii.detach(), points)
    centre = centres.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.linalg.vector_norm(points - centre, dim=-1) - radii.gather(1, nearest)


@torch.no_grad()
def _nearest(
    centres: Float[Tensor, "B N 2"], radii: Float[Tensor, "B N"], points: Float[Tensor, "P 2"]
) -> Int[Tensor, "B P"]:
    best = centres.new_full((len(centres), len(points)), torch.inf)
    nearest = torch.zeros(best.shape, dtype=torch.long, device=best.device)
    for i in range(centres.shape[1]):
        distance = torch.linalg.vector_norm(points - centres[:, i, None], dim=-1) - radii[:, i, None]
        nearer = distance < best
        nearest.masked_fill_(nearer, i)
        best = torch.where(nearer, distance, best)
    return nearest


def covered_fraction(distance: Float[Tensor, "*shape"], pixel: float) -> Float[Tensor, "*shape"]:
    """The fraction of a pixel that lies inside, from the signed distance of its centre to a nearly straight edge.

    ``pixel`` is the side of a pixel. There is no gradient beyond half a pixel from the edge.
    """
    return (0.5 - distance / pixel).clamp(0, 1)


def pixel_centres(side: int, extent_px: int, device: torch.device | str = "cpu") -> Float[Tensor, "P 2"]:
    """The centres of side x side pixels, row by row, in pixels of an image of ``extent_px`` that they cover."""
    along = (torch.arange(side, device=device) + 0.5) * (extent_px / side) - 0.5
    v, u = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([u, v], dim=-1).flatten(0, 1)
