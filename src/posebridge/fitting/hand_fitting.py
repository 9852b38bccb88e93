"""Refines predicted hands by minimising the distances to measured depth.

Gradient descent on Eq. 5 and 6 of Ren et al. (CVPR 2022) for each hand, starting from a network's prediction.
"""

from dataclasses import dataclass, field
from math import cos, pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.bodies.parametric_hand import HandParameters, ParametricHand, hand_meshes_in_views
from posebridge.errors import InputError
from posebridge.fitting.depth_misfit import DepthEvidence, EvidenceConfig, misfit
from posebridge.fitting.starting_hands import starting_hands
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
    gestures: tuple[str, ...] = ("grasp", "fist")  # further starts, beside the predicted pose
    start_fraction: float = 0.5  # of the steps, which all starts take before the best of them takes the others
    start_margin: float = 0.1  # fraction by which a gesture's misfit must be below that of the predicted pose

    def __post_init__(self):
        """Raises ``InputError`` for less than one step."""
        if self.steps < 1:
            raise InputError(f"fitting can't take {self.steps} steps: give 1 or more")


@dataclass(frozen=True)
class _Problem:
    """B hands, to fit to V views each; views are hand-major."""

    hand: ParametricHand
    half_m: Float[Tensor, "B"]
    T_view_hand: Float[Tensor, "_ 4 4"]
    evidence: DepthEvidence

    @property
    def views(self) -> int:
        """Views of each hand."""
        return len(self.T_view_hand) // len(self.half_m)

    def take(self, index: Int[Tensor, "n"]) -> "_Problem":
        """The hands at the given positions, in that order."""
        views = (index[:, None] * self.views + torch.arange(self.views, device=index.device)).flatten()
        return _Problem(self.hand, self.half_m[index], self.T_view_hand[views], self.evidence.take(views))

    def misfits(
        self, parameters: HandParameters, config: EvidenceConfig, search: MovingMeshSearch
    ) -> Float[Tensor, "B"]:
        """The misfit of each hand, as the mean over its views that show a surface."""
        vertices = hand_meshes_in_views(self.hand, parameters, self.half_m, self.T_view_hand).vertices
        faces = self.hand.faces(vertices.device)
        per_view = misfit(vertices, faces, self.evidence, config, search).unflatten(0, (-1, self.views))
        weights = (~self.evidence.empty).to(per_view).unflatten(0, (-1, self.views))
        return (per_view * weights).sum(1) / weights.sum(1).clamp_min(1)


def fit_hands(
    hand: ParametricHand,
    start: HandParameters,
    half_m: Float[Tensor, "B"],
    T_view_hand: Float[Tensor, "_ 4 4"],
    evidence: DepthEvidence,
    config: HandFittingConfig,
) -> HandParameters:
    """B hands, each fitted to all of its V views, within joint limits.

    ``start`` and the result are in units of ``half_m``, half the cube's side in metres. ``T_view_hand`` maps them to
    views; it is hand-major, as ``evidence``. A hand without improvement, or without a view, is returned unchanged.
    """
    problem = _Problem(hand, half_m, T_view_hand, evidence)
    start = HandParameters(*(value.detach() for value in vars(start).values()))
    with torch.no_grad():
        before = problem.misfits(start, config.evidence, MovingMeshSearch())
        starts = starting_hands(hand, start, config.gestures, half_m)
    steps = int(config.start_fraction * config.steps) if config.gestures else 0
    best = _best_starts(problem, starts, config, steps)
    fitted = _descend(problem, best, config, config.steps - steps)
    with torch.no_grad():
        return _where(problem.misfits(fitted, config.evidence, MovingMeshSearch()) < before, fitted, start)


def _best_starts(problem: _Problem, starts: HandParameters, config: HandFittingConfig, steps: int) -> HandParameters:
    """Of several starts of each hand, hand-major, the one with the smallest misfit after some steps.

    The first is the predicted pose, which a gesture replaces only with a margin: by depth alone, fists would replace
    hands whose fingers are extended and whose rotation is wrong.
    """
    count = len(problem.half_m)
    number = len(starts.pose) // count
    if number == 1:
        return starts
    own = torch.arange(count, device=starts.pose.device)
    several = problem.take(own.repeat_interleave(number))
    moved = _descend(several, starts, config, steps)
    with torch.no_grad():
        misfits = several.misfits(moved, config.evidence, MovingMeshSearch()).unflatten(0, (count, number))
    misfits[:, 0] *= 1 - config.start_margin
    chosen = own * number + misfits.argmin(1)
    return HandParameters(*(value[chosen] for value in vars(moved).values()))


def _descend(problem: _Problem, start: HandParameters, config: HandFittingConfig, steps: int) -> HandParameters:
    """The hands after some steps of Adam, within joint limits."""
    search, hand = MovingMeshSearch(), problem.hand
    with torch.enable_grad():
        pose, shape, six, centre = _variables(start)
        adam = torch.optim.Adam([pose, shape, six, centre], lr=config.learning_rate)
        for step in range(steps):
            adam.param_groups[0]["lr"] = config.learning_rate * (1 + cos(pi * step / steps)) / 2
            current = HandParameters(pose, shape, start.R @ rotation_from_6d(six), centre)
            prior = config.shape_weight * shape.square().sum() + config.pose_weight * (pose - start.pose).square().sum()
            adam.zero_grad()
            (problem.misfits(current, config.evidence, search).sum() + prior).backward()
            adam.step()
            with torch.no_grad():
                pose.copy_(hand.clamped_pose(pose))
    return HandParameters(pose.detach(), shape.detach(), start.R @ rotation_from_6d(six.detach()), centre.detach())


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
