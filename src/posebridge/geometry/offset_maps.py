"""Joints in space as offsets from the pixels of a depth map (Ren et al., CVPR 2022, Eq. 1 to 3).

For each joint, maps hold the distance (as a 3D heat map) and the direction from the joint to the point of each pixel.
A weight map weights the pixels. Points, joints and ``max_distance`` (d of Eq. 1) share any unit.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_EPS = 1e-8


@dataclass(frozen=True)
class OffsetMaps:
    """Offset maps of J joints; zero for pixels farther than ``max_distance`` from the joint."""

    heat: Float[Tensor, "B J h w"]  # H: 1 at the joint, 0 at a distance of ``reach`` and beyond
    direction: Float[Tensor, "B J 3 h w"]  # D: unit vector from the joint to the pixel's point


def encode_offsets(
    points: Float[Tensor, "B 3 h w"],
    surface: Bool[Tensor, "B h w"],
    joints: Float[Tensor, "B J 3"],
    max_distance: float,
) -> OffsetMaps:
    """Target maps (Eq. 1 and 2); ``surface`` is lambda, the mask of pixels on the hand."""
    offset = points[:, None] - joints[..., None, None]
    squared = offset.square().sum(2)  # Tensor.norm is forty times slower along this axis
    distance = torch.where(squared > 0, squared.clamp_min(_EPS**2).sqrt(), 0)
    near = surface[:, None] & (distance <= max_distance)
    heat = torch.where(near, (max_distance - distance) / max_distance, 0)  # Eq. 1
    direction = torch.where(near[:, :, None], offset / distance.clamp_min(_EPS)[:, :, None], 0)  # Eq. 2
    return OffsetMaps(heat, direction)


def normalised_weights(weight: Float[Tensor, "B J h w"], surface: Bool[Tensor, "B h w"]) -> Float[Tensor, "B J h w"]:
    """Softmax over the pixels of ``surface``; zero for a sample without any."""
    logits = weight.masked_fill(~surface[:, None], -torch.inf).flatten(2)
    empty = ~surface.flatten(1).any(1)[:, None, None]
    return logits.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0).view_as(weight)


def decode_offsets(
    points: Float[Tensor, "B 3 h w"], maps: OffsetMaps, weights: Float[Tensor, "B J h w"], max_distance: float
) -> Float[Tensor, "B J 3"]:
    """Weighted mean of the joint positions that the pixels imply (Eq. 3); the origin for a sample without surface.

    ``weights`` come from ``normalised_weights``.
    """
    mean_point = torch.einsum("bjhw,bchw->bjc", weights, points)
    mean_offset = torch.einsum("bjhw,bjchw->bjc", weights * (1 - maps.heat), maps.direction)
    return mean_point - max_distance * mean_offset
