"""Choose a checkpoint without labels of the target.

The score of a candidate is the agreement of its predictions between turned, scaled and re-coloured views of unlabelled
target frames, times the plausibility of its poses. Agreement counts only joints that a view moves by more than the
tolerance. A model that predicts one pose for all images therefore scores 0: its joints don't move with the view.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import lightning as L
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.augment import GeometryConfig, draw_views, warp_batch
from posebridge.draw import generator_for
from posebridge.networks.pose_network import PoseNetwork, PoseOutput, join_poses
from posebridge.rendering.photometry import WEAK, AppearanceConfig, apply_appearance
from posebridge.representations.pose25d import lift_from_cube, lift_weak_perspective
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.callbacks import evaluating
from posebridge.training.stage import PoseStage

CRITERION = (
    "agreement of predictions between turned, scaled and re-coloured views of unlabelled target frames, "
    "times the share of plausible bones"
)
_TOLERANCE = 0.05  # of the image side: predictions that differ by less agree
_BATCH = 64
_VIEWS = GeometryConfig(rotation_deg=20.0, shear_deg=0.0, translation=0.04, scale=(0.88, 1.1))


@dataclass(frozen=True)
class BoneStatistics:
    """Logarithms of bone lengths over the reference bone's: mean and standard deviation over the labelled source."""

    mean: Float[Tensor, "b"]
    deviation: Float[Tensor, "b"]

    @classmethod
    def of(cls, joints: Float[Tensor, "B J 3"], skeleton: Skeleton) -> "BoneStatistics":
        """From true poses, in any unit."""
        logs = log_bone_lengths(joints, skeleton)
        return cls(logs.mean(0), logs.std(0))


def log_bone_lengths(joints: Float[Tensor, "B J 3"], skeleton: Skeleton) -> Float[Tensor, "B b"]:
    """Logarithm of every bone's length over the reference bone's."""
    parents, children = (torch.tensor(side) for side in zip(*skeleton.bones, strict=True))
    lengths = (joints[:, children] - joints[:, parents]).norm(dim=-1)
    start, end = skeleton.reference
    reference = (joints[:, start] - joints[:, end]).norm(dim=-1, keepdim=True)
    return torch.log(lengths.clamp_min(1e-6)) - torch.log(reference.clamp_min(1e-6))


def agreement(
    network: PoseNetwork,
    frames: UnlabelledBatch,
    skeleton: Skeleton,
    bones: BoneStatistics,
    appearance: AppearanceConfig = WEAK,
) -> float:
    """The score of a candidate in [0, 1]; see the top of this file. Draws the same views on every call.

    Raises ``ValueError`` for a network without depth, and for depth crops without cameras and centres.
    """
    agreeing, plausible = _compared_views(network, frames, skeleton, bones, appearance)
    shares = [(near & moved).sum() / moved.sum().clamp_min(1) for near, moved in agreeing]
    return float(torch.stack(shares).mean() * plausible.mean())


def frame_scores(
    network: PoseNetwork,
    frames: UnlabelledBatch,
    skeleton: Skeleton,
    bones: BoneStatistics,
    appearance: AppearanceConfig = WEAK,
) -> Float[Tensor, "B"]:
    """The score of ``agreement`` of each frame by itself, on the CPU."""
    agreeing, plausible = _compared_views(network, frames, skeleton, bones, appearance)
    shares = [(near & moved).sum(1) / moved.sum(1).clamp_min(1) for near, moved in agreeing]
    return (torch.stack(shares).mean(0) * plausible).cpu()


def _compared_views(
    network: PoseNetwork,
    frames: UnlabelledBatch,
    skeleton: Skeleton,
    bones: BoneStatistics,
    appearance: AppearanceConfig,
) -> tuple[list[tuple[Bool[Tensor, "B J"], Bool[Tensor, "B J"]]], Float[Tensor, "B"]]:
    """Of each view: joints that agree with the upright frame, and those it moves. Plausible bones of each frame."""
    generator = generator_for(0, 0)
    upright = _predict(network, frames.rgb)
    size = frames.rgb.shape[-1]
    agreeing = []
    for _ in range(2):
        T_view_crop = draw_views(_VIEWS, len(frames), size, generator).to(frames.rgb)
        recoloured = apply_appearance(warp_batch(frames, T_view_crop).rgb, appearance, generator)
        expected = apply_affine(T_view_crop, upright.uv_px)
        moved = (expected - upright.uv_px).norm(dim=-1) > _TOLERANCE * size
        near = (_predict(network, recoloured).uv_px - expected).norm(dim=-1) < _TOLERANCE * size
        agreeing.append((near, moved))
    joints, valid = _joints(network.cube_m, upright, frames, skeleton)
    logs = log_bone_lengths(joints, skeleton)
    usual = (logs - bones.mean.to(logs)).abs() < 3 * bones.deviation.to(logs) + 0.35
    return agreeing, usual.float().mean(-1) * valid


def _joints(
    cube_m: float | None, poses: PoseOutput, frames: UnlabelledBatch, skeleton: Skeleton
) -> tuple[Float[Tensor, "B J 3"], Bool[Tensor, "B"]]:
    """Joints in space up to scale and place, and for which frames they exist."""
    if poses.joints_m is not None:
        return poses.joints_m, _all_true(poses.joints_m)
    if poses.relative_depth is None:
        raise ValueError("plausibility needs joints in space: the network predicts neither depth nor metres")
    if cube_m is None:
        return lift_weak_perspective(poses.uv_px, poses.relative_depth, skeleton)
    if frames.camera is None or frames.centre_m is None:
        raise ValueError("depth crops need their cameras and the centres of their cubes")
    joints = lift_from_cube(poses.uv_px, poses.relative_depth, frames.camera, frames.centre_m, cube_m)
    return joints, _all_true(joints)


def _all_true(joints: Tensor) -> Bool[Tensor, "B"]:
    return torch.ones(len(joints), dtype=torch.bool, device=joints.device)


@torch.no_grad()
def _predict(network: PoseNetwork, images: Float[Tensor, "B C H W"]) -> PoseOutput:
    return join_poses([network.predict(part) for part in images.split(_BATCH)])


class Measure(Protocol):
    """Computes numbers of a candidate beside its score; may keep a state from one candidate to the next."""

    def __call__(self, stage: PoseStage) -> dict[str, float]:
        """Numbers of the current stage, by name."""
        ...

    def state_dict(self) -> dict:
        """The state, for the checkpoint."""
        ...

    def load_state_dict(self, state: dict) -> None:
        """Restore the state from a checkpoint."""
        ...


class Selection(L.Callback):
    """Scores the stage's network at even intervals and keeps the weights of the best, in the checkpoint too.

    ``measure`` adds further numbers to a candidate, such as its PCK@0.05 where the target has labels (``oracle``).
    They go to the record and never take part in the choice.
    """

    def __init__(
        self,
        evaluations: int,
        score: Callable[[PoseNetwork], float],
        measure: Measure | None = None,
    ):
        self.evaluations = evaluations
        self.score = score
        self.measure = measure
        self.candidates: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by the trainer: the initial network is the first candidate."""
        if not self.candidates:
            self._consider(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        assert isinstance(pl_module, PoseStage)
        if not pl_module.completes_step(batch_idx):
            return
        done = (trainer.global_step - 1, trainer.global_step)
        before, now = (step * self.evaluations // trainer.max_steps for step in done)
        if now > before:  # evenly, the last time at the last step
            self._consider(trainer, pl_module)

    def _consider(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, PoseStage)
        with evaluating(pl_module) as stage:
            candidate = {"step": trainer.global_step, "score": self.score(stage.result())}
            if self.measure is not None:
                candidate |= self.measure(stage)
        self.candidates.append(candidate)
        if candidate is self.best():
            self.best_weights = {k: v.detach().to("cpu", copy=True) for k, v in stage.selected().state_dict().items()}

    def best(self) -> dict[str, float]:
        """The candidate with the highest score, the later one among equals. A score of NaN is the lowest."""
        return max(reversed(self.candidates), key=lambda candidate: _or_lowest(candidate["score"]))

    def restore_best(self, selected: nn.Module) -> None:
        """Load the weights of the best candidate into ``PoseStage.selected``."""
        selected.load_state_dict(self.best_weights)

    def state_dict(self) -> dict:
        """Kept in the checkpoint."""
        state = {"candidates": self.candidates, "best_weights": self.best_weights}
        return state if self.measure is None else state | {"measure": self.measure.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restored from the checkpoint."""
        self.candidates = state_dict["candidates"]
        self.best_weights = state_dict["best_weights"]
        if self.measure is not None:
            self.measure.load_state_dict(state_dict["measure"])


def _or_lowest(score: float) -> float:
    return -math.inf if math.isnan(score) else score
