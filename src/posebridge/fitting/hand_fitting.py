"""Hands that are moved until they explain the depth they were seen in: Eq. 5 and 6 of Ren et al. (CVPR 2022) descended
hand by hand, from where a network has them.
"""

from dataclasses import dataclass, field
from math import cos, pi

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import HandParameters, ParametricHand, hand_meshes_in_views
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence, EvidenceConfig, misfit
from posebridge.geometry.closest_point_warp import MovingMeshSearch
from posebridge.networks.depth_hand import rotation_from_6d


@dataclass(frozen=True)
class HandFittingConfig:
    """Adam, its rate falling to zero. What was tried is told in docs/methods/multi-view-fusion.md."""

    steps: int = 40
    learning_rate: float = 0.04  # radians of angles, deviations of shapes, halves of the cube
    evidence: EvidenceConfig = field(default_factory=lambda: EvidenceConfig(max_distance=0.15))
    shape_weight: float = 0.01  # of the sum of squared deviations
    pose_weight: float = 0.003  # of the sum of squared angles by which the pose has moved

    def __post_init__(self):
        """Raises ``InputError`` for less than one step."""
        if self.steps < 1:
            raise InputError(f"{self.steps} steps of fitting are impossible: give 1 or more")


def fit_hands(
    hand: ParametricHand,
    start: HandParameters,
    half_m: Float[Tensor, "B"],
    T_view_hand: Float[Tensor, "_ 4 4"],
    seen: DepthEvidence,
    config: HandFittingConfig,
) -> HandParameters:
    """B hands, each fitted to all of its V views at once; hand-major, as ``seen``.

    ``start`` and the outcome are in spaces of unit ``half_m``, from which ``T_view_hand`` leads to those of the views.
    A hand that would explain its views no better than before stays as it was, and so does one that no view sees.
    """
    count, views = len(half_m), len(T_view_hand) // len(half_m)
    start = HandParameters(*(value.detach() for value in vars(start).values()))
    faces = hand.faces(half_m.device)
    says = (~seen.empty).to(half_m).unflatten(0, (count, views))
    search = MovingMeshSearch()

    def over_views(parameters: HandParameters) -> Float[Tensor, "B"]:
        vertices = hand_meshes_in_views(hand, parameters, half_m, T_view_hand).vertices
        apart = misfit(vertices, faces, seen, config.evidence, search)
        return (apart.unflatten(0, (count, views)) * says).sum(1) / says.sum(1).clamp_min(1)

    with torch.enable_grad():
        upright = start.centre.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).expand(count, 6)
        pose, shape, turn, place = (
            value.clone().requires_grad_() for value in (start.pose, start.shape, upright, start.centre)
        )
        misfits: list[Tensor] = []
        adam = torch.optim.Adam([pose, shape, turn, place], lr=config.learning_rate)
        for step in range(config.steps):
            adam.param_groups[0]["lr"] = config.learning_rate * (1 + cos(pi * step / config.steps)) / 2
            moved = HandParameters(pose, shape, start.R @ rotation_from_6d(turn), place)
            prior = config.shape_weight * shape.square().sum() + config.pose_weight * (pose - start.pose).square().sum()
            apart = over_views(moved)
            misfits.append(apart.detach())
            adam.zero_grad()
            (apart.sum() + prior).backward()
            adam.step()
    with torch.no_grad():
        moved = HandParameters(pose.detach(), shape.detach(), start.R @ rotation_from_6d(turn), place.detach())
        better = over_views(moved) < misfits[0]
        return HandParameters(
            *(
                torch.where(better.view(-1, *[1] * (old.ndim - 1)), new, old)
                for old, new in zip(vars(start).values(), vars(moved).values(), strict=True)
            )
        )
