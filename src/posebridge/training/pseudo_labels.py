"""Pseudo-labels of a teacher: joints, confidence, and the mask of joints that are used for training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.augment import trade_sides, warp_points
from posebridge.networks.pose_network import PoseOutput


@dataclass(frozen=True)
class PseudoLabels:
    """Joints that a teacher predicts in B crops, as in ``PoseOutput``."""

    uv_px: Float[Tensor, "B J 2"]  # pixels of the crop
    relative_depth: Float[Tensor, "B J"]
    confidence: Float[Tensor, "B J"]
    kept: Bool[Tensor, "B J"]  # used for training
    # For methods with two criteria: the mask of each.
    by_confidence: Bool[Tensor, "B J"] | None = None
    by_anatomy: Bool[Tensor, "B J"] | None = None

    def in_view(self, T_view_crop: Float[Tensor, "B 3 3"], mirror: Sequence[int]) -> "PseudoLabels":
        """The pseudo-labels in pixels of a view. A view that mirrors exchanges left and right joints."""
        return PseudoLabels(
            warp_points(self.uv_px, T_view_crop, mirror),
            *(trade_sides(v, T_view_crop, mirror) for v in (self.relative_depth, self.confidence, self.kept)),
        )


@torch.no_grad()
def pseudo_labels_of(predict: Callable[[Tensor], PoseOutput], images: Float[Tensor, "B 3 H W"]) -> PseudoLabels:
    """A network's predictions as pseudo-labels, all of them kept. Raises ``ValueError`` for poses without depth."""
    poses = predict(images)
    if poses.relative_depth is None:
        raise ValueError("pseudo-labels need relative depth, and the network predicts none")
    kept = torch.ones_like(poses.confidence, dtype=torch.bool)
    return PseudoLabels(poses.uv_px, poses.relative_depth, poses.confidence, kept)


def most_confident(confidence: Float[Tensor, "B J"], frac: float) -> Bool[Tensor, "B J"]:
    """Mask of the most confident joints: the fraction ``frac`` of the whole batch, by one threshold for all joints."""
    count = max(1, round(frac * confidence.numel()))
    threshold = confidence.flatten().topk(count).values[-1]
    return confidence >= threshold


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the parameters (mean teacher, Tarvainen & Valpola 2017).

    Buffers are not averaged: the average's batch statistics come from its own forward passes.
    """
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast.to(slow.dtype), 1 - decay)


@torch.no_grad()
def copy_buffers(average: nn.Module, model: nn.Module) -> None:
    """Copy the buffers, such as batch statistics, to an average that makes no forward passes of its own."""
    for own, current in zip(average.buffers(), model.buffers(), strict=True):
        own.copy_(current)


@runtime_checkable
class HasPseudoLabels(Protocol):
    """A stage that trains on pseudo-labels and returns them for inspection."""

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """The pseudo-labels of un-augmented frames."""
        ...
