"""Shapes that lengthen one finger each, for rigs whose own shapes hardly change a finger's proportions."""

from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.rig import Rig
from posebridge.skeletons.hand import FINGERS, HAND21

# Standard deviation of a finger's length among hands of one length, as a fraction of the finger: 3 to 5% among adults.
FINGER_LENGTH_DEVIATION = 0.04


def with_finger_lengths(rig: Rig) -> Rig:
    """The rig with five further shapes, thumb first: one is a finger longer by a standard deviation.

    The phalanges are stretched along their bones in proportion to their length, so the finger keeps its curvature and
    width. Fingers start at the knuckle, the thumb at its MCP joint.
    """
    moved = [_stretched(rig, finger) for finger in range(len(FINGERS))]
    vertices, heads = (torch.stack(parts) for parts in zip(*moved, strict=True))
    return replace(
        rig,
        vertex_basis_m=torch.cat([rig.vertex_basis_m, FINGER_LENGTH_DEVIATION * vertices]),
        head_basis_m=torch.cat([rig.head_basis_m, FINGER_LENGTH_DEVIATION * heads]),
    )


def _stretched(rig: Rig, finger: int) -> tuple[Float[Tensor, "V 3"], Float[Tensor, "N 3"]]:
    """Displacements in metres of vertices and bone heads, for a finger of double length."""
    first = 2 if FINGERS[finger] == "thumb" else 1
    names = [HAND21.index(f"{FINGERS[finger]}_{k}") for k in range(first, 5)]
    chain = rig.keypoints_of(rig.heads_m[None], rig.vertices_m[None])[0, names]
    bones = [rig.bones.index(f"finger{finger + 1}-{k}") for k in range(first, 4)]
    membership = rig.weights[:, bones].sum(1, keepdim=True)
    vertices = torch.zeros_like(rig.vertices_m)
    for start, end in pairwise(chain):
        bone = end - start
        fraction = ((rig.vertices_m - start) @ bone / bone.square().sum()).clamp(0, 1)
        vertices += fraction[:, None] * bone
    heads = torch.zeros_like(rig.heads_m)
    heads[bones] = chain[:-1] - chain[0]
    return membership * vertices, heads
