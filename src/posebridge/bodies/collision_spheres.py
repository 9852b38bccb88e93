"""Spheres that fill a hand, so that fingers which pass through one another can be told (Ren et al., CVPR 2022, 3.3).

66 of them, placed along the bones between the joints: three a phalanx, four a metacarpal, one at the wrist.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.bodies.parametric_hand import ParametricHand
from posebridge.skeletons.hand import FINGERS, HAND21

_NEAR = 10  # vertices whose mean distance is a sphere's radius
_TIP_SHRINKAGE = 1.5  # spheres at the ends of fingers are smaller by this factor
_PALM = -1


@dataclass(frozen=True)
class CollisionSpheres:
    """Spheres by the joints that they lie between."""

    weights: Float[Tensor, "66 21"]  # of the joints; rows sum to one
    finger: tuple[int, ...]  # which of the five, -1 for the palm
    order: tuple[int, ...]  # along the finger from 0, the palm's along their metacarpals
    radius: Float[Tensor, "66"]  # as a share of the hand's length, wrist to middle knuckle

    @classmethod
    def from_hand(cls, hand: ParametricHand) -> "CollisionSpheres":
        """The spheres of a model's mean hand, as it is with all parameters zero."""
        weights, finger, order = _places()
        own = hand.in_hand_frame(torch.zeros(1, hand.pose_size), torch.zeros(1, hand.shape_size))
        centres = weights @ own.joints[0]
        radius = torch.cdist(centres, own.vertices[0]).topk(_NEAR, largest=False).values.mean(1)
        last = torch.tensor([f != _PALM and n == 8 for f, n in zip(finger, order, strict=True)])
        radius = torch.where(last, radius / _TIP_SHRINKAGE, radius)
        return cls(weights, finger, order, radius / _length(own.joints)[0])

    def centres(self, joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B 66 3"]:
        """Where they are, in the unit of the joints."""
        return self.weights.to(joints) @ joints

    @cached_property
    def checked_pairs(self) -> Bool[Tensor, "66 66"]:
        """Pairs that must not overlap, each once: not those of the palm, nor neighbours along one finger."""
        finger, order = torch.tensor(self.finger), torch.tensor(self.order)
        palm = finger == _PALM
        both_palm = palm[:, None] & palm
        # A finger's first phalanx begins within the palm; its spheres and the palm's always overlap.
        first = ~palm & (order < 3)
        root = (palm[:, None] & first) | (first[:, None] & palm)
        neighbours = (finger[:, None] == finger) & ((order[:, None] - order).abs() <= 3)
        # Knuckles stand side by side, and the skin between first phalanges is shared.
        side = first[:, None] & first
        return (~(both_palm | root | neighbours | side)).triu(1)

    def overlap(self, joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B"]:
        """The sum over pairs of the squared depth by which they overlap, in squares of the hand's own length."""
        length = _length(joints).detach()[:, None]
        first, second = self.checked_pairs.to(joints.device).nonzero(as_tuple=True)
        centres, radius = self.centres(joints / length[..., None]), self.radius.to(joints)
        apart = (centres[:, first] - centres[:, second]).square().sum(-1).clamp_min(1e-12).sqrt()
        return (radius[first] + radius[second] - apart).clamp_min(0).square().sum(1)


def _length(joints: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B"]:
    middle = HAND21.index("middle_1")
    return (joints[:, middle] - joints[:, 0]).norm(dim=-1).clamp_min(1e-6)


def _places() -> tuple[Float[Tensor, "66 21"], tuple[int, ...], tuple[int, ...]]:
    rows, finger, order = [_between(0, 0, 0.0)], [_PALM], [0]
    for number, name in enumerate(FINGERS):
        joints = [HAND21.index(f"{name}_{k}") for k in (1, 2, 3, 4)]
        for step in range(4):  # of the metacarpal
            rows.append(_between(0, joints[0], (step + 1) / 4.5))
            finger.append(_PALM)
            order.append(step)
        for phalanx in range(3):
            for step in range(3):
                rows.append(_between(joints[phalanx], joints[phalanx + 1], (step + 0.5) / 3))
                finger.append(number)
                order.append(3 * phalanx + step)
    return torch.stack(rows), tuple(finger), tuple(order)


def _between(first: int, second: int, share: float) -> Float[Tensor, "21"]:
    row = torch.zeros(len(HAND21))
    row[first] += 1 - share
    row[second] += share
    return row
