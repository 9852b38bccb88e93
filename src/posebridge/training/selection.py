"""Choose a checkpoint without a single label of the target.

The score of a candidate is how well it agrees with itself on unlabelled target frames when they are turned, scaled
and re-coloured, and how plausible its poses are. Only joints that a view moves by more than the tolerance are asked:
so a model that has collapsed to one pose, whatever it is shown, agrees nowhere, since its joints don't move along.
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
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import WEAK, AppearanceConfig, apply_appearance
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose25d import lift_from_cube, lift_weak_perspective
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.callbacks import evaluating
from posebridge.training.stage import PoseStage

CRITERION = (
    "agreement of predictions between turned, scaled and re-coloured views of unlabelled target frames, "
    "times the share of plausible bones"
)
_WITHIN = 0.05  # of the image side: views that differ by less agree
_VIEWS = GeometryConfig(rotation_deg=20.0, shear_deg=0.0, translation=0.04, scale=(0.88, 1.1))


@dataclass(frozen=True)
class BoneStatistics:
    """Logarithms of bone lengths over the reference bone's: mean and deviation over the labelled source."""

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
    network: PoseResNet,
    maps: PoseMaps,
    frames: UnlabelledBatch,
    skeleton: Skeleton,
    bones: BoneStatistics,
    appearance: AppearanceConfig = WEAK,
) -> float:
    """The score of a candidate in [0, 1]; see the top of this file. Draws the same views on every call."""
    generator = generator_for(0, 0)
    upright = _predict(network, maps, frames.rgb)
    size = frames.rgb.shape[-1]
    agreeing = []
    for _ in range(2):
        T_view_crop = draw_views(_VIEWS, len(frames), size, generator).to(frames.rgb)
        recoloured = apply_appearance(warp_batch(frames, T_view_crop).rgb, appearance, generator)
        expected = apply_affine(T_view_crop, upright[0])
        moved = (expected - upright[0]).norm(dim=-1) > _WITHIN * size
        near = (_predict(network, maps, recoloured)[0] - expected).norm(dim=-1) < _WITHIN * size
        agreeing.append((near & moved).sum() / moved.sum().clamp_min(1))
    joints, valid = _joints(maps, *upright, frames, skeleton)
    logs = log_bone_lengths(joints, skeleton)
    usual = (logs - bones.mean.to(logs)).abs() < 3 * bones.deviation.to(logs) + 0.35
    plausible = (usual.float().mean(-1) * valid).mean()
    return float(torch.stack(agreeing).mean() * plausible)


def _joints(
    maps: PoseMaps, uv_px: Tensor, depth: Tensor, frames: UnlabelledBatch, skeleton: Skeleton
) -> tuple[Float[Tensor, "B J 3"], Bool[Tensor, "B"]]:
    """Joints in space up to scale and place, and where there is a solution."""
    if maps.cube_m is None:
        return lift_weak_perspective(uv_px, depth, skeleton)
    if frames.camera is None or frames.centre_m is None:
        raise ValueError("depth crops need their cameras and the centres of their cubes")
    joints = lift_from_cube(uv_px, depth, frames.camera, frames.centre_m, maps.cube_m)
    return joints, torch.ones(len(joints), dtype=torch.bool, device=joints.device)


@torch.no_grad()
def _predict(network: PoseResNet, maps: PoseMaps, images: Tensor) -> tuple[Tensor, Tensor]:
    uv, depth = [], []
    for part in images.split(64):
        heat, depth_maps = network(part)
        pose = maps.read(heat.float(), depth_maps.float())
        uv.append(image_from_map(pose.uv_map, images.shape[-2:], heat.shape[-2:]))
        depth.append(pose.relative_depth)
    return torch.cat(uv), torch.cat(depth)


class Measure(Protocol):
    """Numbers of a checkpoint beside its score, and what it remembers from one to the next."""

    def __call__(self, stage: PoseStage) -> dict[str, float]:
        """Of the stage as it stands."""
        ...

    def state_dict(self) -> dict:
        """What the next checkpoint's numbers need of the ones before."""
        ...

    def load_state_dict(self, state: dict) -> None:
        """The opposite."""
        ...


class Selection(L.Callback):
    """Scores the stage's network at even intervals and keeps the weights of the best, in the checkpoint too.

    ``measure`` adds further numbers to a candidate (with truth of the target at hand: ``oracle``, its PCK@0.05); they
    are told to whoever reads the record and never take part in the choice.
    """

    def __init__(
        self,
        evaluations: int,
        score: Callable[[PoseResNet], float],
        measure: Measure | None = None,
    ):
        self.evaluations = evaluations
        self.score = score
        self.measure = measure
        self.candidates: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by the trainer: the network as it came is the first candidate."""
        if not self.candidates:
            self._consider(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        done = (trainer.global_step - 1, trainer.global_step)
        before, now = (step * self.evaluations // trainer.max_steps for step in done)
        if now > before:  # evenly, the last time at the last step
            self._consider(trainer, pl_module)

    def _consider(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, PoseStage)
        with evaluating(pl_module) as stage:
            network = stage.result()
            candidate = {"step": trainer.global_step, "score": self.score(network)}
            if self.measure is not None:
                candidate |= self.measure(stage)
        self.candidates.append(candidate)
        if candidate is self.best():
            self.best_weights = {k: v.detach().to("cpu", copy=True) for k, v in network.state_dict().items()}

    def best(self) -> dict[str, float]:
        """The candidate with the highest label-free score; the later one among equals. A score of NaN is the lowest."""
        return max(reversed(self.candidates), key=lambda candidate: _or_lowest(candidate["score"]))

    def restore_best(self, network: nn.Module) -> None:
        """Give a network the weights of the best candidate."""
        network.load_state_dict(self.best_weights)

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
