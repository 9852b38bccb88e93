"""Spheres that approximate a hand, to penalise self-intersection (Ren et al., CVPR 2022, Sec. 3.3).

66 spheres lie on the bones between the joints: three per phalanx, four per metacarpal, one at the wrist.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.bodies.parametric_hand import ParametricHand
from posebridge.skeletons.hand import FINGERS, HAND21

_RADIUS_VERTICES = 10  # closest vertices, whose mean distance is the radius
_TIP_SHRINKAGE = 1.5  # factor by which spheres at finger tips are smaller
_PALM = -1


@dataclass(frozen=True)
class CollisionSpheres:
    """Spheres whose centres are linear in the joints."""

    weights: Float[Tensor, "66 21"]  # of the joints; rows sum to one
    finger: tuple[int, ...]  # 0 to 4, or -1 for the palm
    order: tuple[int, ...]  # position along the finger or metacarpal, from 0
    radius: Float[Tensor, "66"]  # in units of the hand's length, wrist to middle knuckle

    @classmethod
    def from_hand(cls, hand: ParametricHand) -> "CollisionSpheres":
        """Spheres of a model's mean hand, which has all parameters zero."""
        weights, finger, order = _places()
        mean_hand = hand.in_hand_frame(torch.zeros(1, hand.pose_size), torch.zeros(1, hand.shape_size))
        centres = weights @ mean_hand.joints[0]
        radius = torch.cdist(centres, mean_hand.vertices[0]).topk(_RADIUS_VERTICES, largest=False).values.mean(1)
        last = torch.tensor([f != _PALM and n == 8 for f, n in zip(finger, order, strict=True)])
        radius = torch.where(last, radius / _TIP_SHRINKAGE, radius)
        return cls(weights, finger, order, radius / _length(mean_hand.joints)[0])

    def centres(self, joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B 66 3"]:
        """Centres in the unit of the joints."""
        return self.weights.to(joints) @ joints

    @cached_property
    def checked_pairs(self) -> Bool[Tensor, "66 66"]:
        """Mask of pairs that must not overlap, each once; without pairs in the palm and neighbours on a finger."""
        finger, order = torch.tensor(self.finger), torch.tensor(self.order)
        palm = finger == _PALM
        both_palm = palm[:, None] & palm
        # First phalanges start within the palm, so their spheres overlap with those of the palm.
        first = ~palm & (order < 3)
        root = (palm[:, None] & first) | (first[:, None] & palm)
        neighbours = (finger[:, None] == finger) & ((order[:, None] - order).abs() <= 3)
        # Knuckles are adjacent, and first phalanges share the skin between them.
        side = first[:, None] & first
        return (~(both_palm | root | neighbours | side)).triu(1)

    def overlap(self, joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B"]:
        """Sum over pairs of squared penetration depths, in units of the squared hand length."""
        length = _length(joints).detach()[:, None]
        first, second = self.checked_pairs.to(joints.device).nonzero(as_tuple=True)
        centres, radius = self.centres(joints / length[..., None]), self.radius.to(joints)
        distance = (centres[:, first] - centres[:, second]).square().sum(-1).clamp_min(1e-12).sqrt()
        return (radius[first] + radius[second] - distance).clamp_min(0).square().sum(1)


def _length(joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B"]:
    middle = HAND21.index("middle_1")
    return (joints[:, middle] - joints[:, 0]).norm(dim=-1).clamp_min(1e-6)


def _places() -> tuple[Float[Tensor, "66 21"], tuple[int, ...], tuple[int, ...]]:
    rows, finger, order = [between(0, 0, 0.0)], [_PALM], [0]
    for number, name in enumerate(FINGERS):
        for step in range(4):  # of the metacarpal
            rows.append(between(0, HAND21.index(f"{name}_1"), (step + 1) / 4.5))
            finger.append(_PALM)
            order.append(step)
        rows += finger_rows(name)
        finger += [number] * 9
        order += range(9)
    return torch.stack(rows), tuple(finger), tuple(order)


def finger_rows(name: str) -> list[Float[Tensor, "21"]]:
    """Weights of the hand's joints for nine points along a finger, three on each phalanx, base to tip."""
    joints = [HAND21.index(f"{name}_{k}") for k in (1, 2, 3, 4)]
    return [between(start, end, (step + 0.5) / 3) for start, end in pairwise(joints) for step in range(3)]


def between(first: int, second: int, fraction: float) -> Float[Tensor, "21"]:
    """Weights of the hand's joints for a point on the line from one joint to another."""
    row = torch.zeros(len(HAND21))
    row[first] += 1 - fraction
    row[second] += fraction
    return row
