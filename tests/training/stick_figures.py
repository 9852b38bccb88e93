"""Synthetic videos: figures of thick coloured segments that move before a static textured background."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from posebridge.representations.bone_maps import distance_to_segments
from posebridge.skeletons.skeleton import Skeleton

FIGURE = Skeleton(
    "figure",
    ("hip", "neck", "head", "left_hand", "right_hand", "left_foot", "right_foot"),
    {"neck": "hip", "head": "neck", "left_hand": "neck", "right_hand": "neck", "left_foot": "hip", "right_foot": "hip"},
    reference_bone=("hip", "neck"),
    mirror_of={"left_hand": "right_hand", "left_foot": "right_foot"},
)
_REST = (-1.57, -1.57, 0.4, 2.7, 1.0, 2.1)  # directions of the figure's bones, in radians from u towards v
_LENGTHS = (0.2, 0.13, 0.24, 0.24, 0.27, 0.27)  # of the image's side


@dataclass(frozen=True)
class Pairs:
    """Base and driving frames, and pixels of their joints."""

    base: Tensor
    driving: Tensor
    uv_base: Tensor
    uv_driving: Tensor


def poses(count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two poses each of ``count`` figures, (B, 7, 2) in pixels."""
    angles = torch.tensor(_REST) + 0.35 * torch.randn(count, 6, generator=generator)
    moved = angles + 0.4 * torch.randn(count, 6, generator=generator)
    hip = side * (0.5 + 0.05 * torch.randn(count, 2, generator=generator))
    shift = 0.04 * side * torch.randn(count, 2, generator=generator)
    return _joints(angles, hip, side), _joints(moved, hip + shift, side)


def _joints(angles: Tensor, hip: Tensor, side: int) -> Tensor:
    steps = torch.stack([angles.cos(), angles.sin()], -1) * (side * torch.tensor(_LENGTHS))[:, None]
    places = [hip]
    for (parent, _), step in zip(FIGURE.bones, steps.unbind(1), strict=True):
        places.append(places[parent] + step)
    return torch.stack(places, dim=1)


def pairs(count: int, side: int, seed: int) -> Pairs:
    """Frames of ``count`` videos, each with its own background."""
    generator = torch.Generator().manual_seed(seed)
    uv_base, uv_driving = poses(count, side, generator)
    ground = texture(count, side, generator)
    base, driving = (draw(uv, FIGURE, ground) for uv in (uv_base, uv_driving))
    return Pairs(base, driving, uv_base, uv_driving)


def texture(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Backgrounds of smooth grey-brown noise."""
    noise = torch.rand(count, 3, side // 4, side // 4, generator=generator)
    return 0.15 + 0.35 * F.interpolate(noise, (side, side), mode="bilinear")


def draw(uv_px: Tensor, skeleton: Skeleton, ground: Tensor, thickness: float = 0.03) -> Tensor:
    """Segments over a background, later bones in front; ``thickness`` is half their width over the side."""
    height, width = ground.shape[-2:]
    parents, children = (uv_px[:, list(ends)] for ends in zip(*skeleton.bones, strict=True))
    distance = distance_to_segments(parents, children, height, width)
    cover = torch.sigmoid(2 * (thickness * width - distance))
    picture = ground
    for bone, alpha in enumerate(cover.unbind(1)):
        hue = 2 * math.pi * bone / len(skeleton.bones)
        colour = torch.tensor([0.65 + 0.35 * math.cos(hue + shift) for shift in (0.0, 2.1, 4.2)])
        picture = picture + alpha[:, None] * (colour[:, None, None] - picture)
    return picture
