"""Joints in space as offsets from the pixels that see the surface near them (Ren et al., CVPR 2022, Eq. 1 to 3).

Every pixel of a depth map is a point in space. For each joint it says how far away the joint is (a 3D heat map) and in
which direction, and a weight map says whose word counts. Points and joints are in any unit, as is ``reach``, the
largest distance d at which a pixel has a say.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_TINY = 1e-8


@dataclass(frozen=True)
class OffsetMaps:
    """What pixels say of J joints; zero where they have no say."""

    heat: Float[Tensor, "B J h w"]  # H: 1 at the joint, 0 at a distance of ``reach`` and beyond
    direction: Float[Tensor, "B J 3 h w"]  # D: from the joint to the pixel's point, of length one


def encode_offsets(
    points: Float[Tensor, "B 3 h w"],
    surface: Bool[Tensor, "B h w"],
    joints: Float[Tensor, "B J 3"],
    max_distance: float,
) -> OffsetMaps:
    """What pixels should say; ``surface`` is lambda, the pixels whose point is one of the hand."""
    away = points[:, None] - joints[..., None, None]
    squared = away.square().sum(2)  # Tensor.norm takes forty times as long along such an axis
    distance = torch.where(squared > 0, squared.clamp_min(_TINY**2).sqrt(), 0)
    near = surface[:, None] & (distance <= max_distance)
    heat = torch.where(near, (max_distance - distance) / max_distance, 0)  # Eq. 1
    direction = torch.where(near[:, :, None], away / distance.clamp_min(_TINY)[:, :, None], 0)  # Eq. 2
    return OffsetMaps(heat, direction)


def normalised_weights(weight: Float[Tensor, "B J h w"], surface: Bool[Tensor, "B h w"]) -> Float[Tensor, "B J h w"]:
    """Softmax over the pixels that see the surface; zero where none does."""
    logits = weight.masked_fill(~surface[:, None], -torch.inf).flatten(2)
    blind = ~surface.flatten(1).any(1)[:, None, None]
    return logits.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0).view_as(weight)


def decode_offsets(
    points: Float[Tensor, "B 3 h w"], maps: OffsetMaps, weights: Float[Tensor, "B J h w"], max_distance: float
) -> Float[Tensor, "B J 3"]:
    """Eq. 3: the weighted mean of where each pixel has the joint; ``weights`` as ``normalised_weights`` gives them.

    The origin where no pixel sees the surface.
    """
    seen = torch.einsum("bjhw,bchw->bjc", weights, points)
    away = torch.einsum("bjhw,bjchw->bjc", weights * (1 - maps.heat), maps.direction)
    return seen - max_distance * away
