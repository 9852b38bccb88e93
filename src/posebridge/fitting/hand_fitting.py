"""Refines predicted hands by minimising the distances to measured depth.

Gradient descent on Eq. 5 and 6 of Ren et al. (CVPR 2022) for each hand, starting from a network's prediction.
"""

from dataclasses import dataclass, field
from math import cos, pi

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.bodies.parametric_hand import HandParameters, ParametricHand, hand_meshes_in_views
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence, EvidenceConfig, misfit
from posebridge.geometry.closest_point_warp import MovingMeshSearch
from posebridge.networks.depth_hand import rotation_from_6d


@dataclass(frozen=True)
class HandFittingConfig:
    """Adam with a cosine schedule to zero. docs/methods/multi-view-fusion.md compares other settings."""

    steps: int = 40
    learning_rate: float = 0.04  # in radians, standard deviations of shapes and half sides of the cube
    evidence: EvidenceConfig = field(default_factory=lambda: EvidenceConfig(max_distance=0.15))
    shape_weight: float = 0.01  # of the summed squares of shape coefficients
    pose_weight: float = 0.003  # of the summed squares of changes of pose

    def __post_init__(self):
        """Raises ``InputError`` for less than one step."""
        if self.steps < 1:
            raise InputError(f"fitting can't take {self.steps} steps: give 1 or more")


def fit_hands(
    hand: ParametricHand,
    start: HandParameters,
    half_m: Float[Tensor, "B"],
    T_view_hand: Float[Tensor, "_ 4 4"],
    evidence: DepthEvidence,
    config: HandFittingConfig,
) -> HandParameters:
    """B hands, each fitted to all of its V views.

    ``start`` and the result are in units of ``half_m``, half the cube's side in metres. ``T_view_hand`` maps them to
    views; it is hand-major, as ``evidence``. A hand without improvement, or without a view, is returned unchanged.
    """
    count, views = len(half_m), len(T_view_hand) // len(half_m)
    start = HandParameters(*(value.detach() for value in vars(start).values()))
    faces = hand.faces(half_m.device)
    weights = (~evidence.empty).to(half_m).unflatten(0, (count, views))
    search = MovingMeshSearch()

    def mean_misfit(parameters: HandParameters) -> Float[Tensor, "B"]:
        vertices = hand_meshes_in_views(hand, parameters, half_m, T_view_hand).vertices
        per_view = misfit(vertices, faces, evidence, config.evidence, search)
        return (per_view.unflatten(0, (count, views)) * weights).sum(1) / weights.sum(1).clamp_min(1)

    with torch.enable_grad():
        pose, shape, six, centre = _variables(start)
        misfits: list[Tensor] = []
        adam = torch.optim.Adam([pose, shape, six, centre], lr=config.learning_rate)
        for step in range(config.steps):
            adam.param_groups[0]["lr"] = config.learning_rate * (1 + cos(pi * step / config.steps)) / 2
            current = HandParameters(pose, shape, start.R @ rotation_from_6d(six), centre)
            prior = config.shape_weight * shape.square().sum() + config.pose_weight * (pose - start.pose).square().sum()
            misfit_now = mean_misfit(current)
            misfits.append(misfit_now.detach())
            adam.zero_grad()
            (misfit_now.sum() + prior).backward()
            adam.step()
    with torch.no_grad():
        fitted = HandParameters(pose.detach(), shape.detach(), start.R @ rotation_from_6d(six), centre.detach())
        return _where(mean_misfit(fitted) < misfits[0], fitted, start)


def _variables(start: HandParameters) -> tuple[Tensor, ...]:
    """Pose, shape, rotation from the start as six numbers, and centre, for an optimiser."""
    identity = start.centre.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).expand(len(start.centre), 6)
    return tuple(value.clone().requires_grad_() for value in (start.pose, start.shape, identity, start.centre))


def _where(chosen: Bool[Tensor, "B"], hands: HandParameters, others: HandParameters) -> HandParameters:
    """``hands`` where ``chosen``, elsewhere ``others``."""
    return HandParameters(
        *(
            torch.where(chosen.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(vars(hands).values(), vars(others).values(), strict=True)
        )
    )
