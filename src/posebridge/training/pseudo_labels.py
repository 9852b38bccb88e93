"""Pseudo-labels of a teacher: joints, confidence, and the mask of joints that are used for training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

    def keeping(self, kept: Bool[Tensor, "B J"]) -> "PseudoLabels":
        """The pseudo-labels with other joints used for training."""
        return replace(self, kept=kept)

    @classmethod
    def joined(cls, parts: "Sequence[PseudoLabels]") -> "PseudoLabels":
        """The pseudo-labels of several batches, which have one criterion, as one batch."""
        names = ("uv_px", "relative_depth", "confidence", "kept")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def merged(views: "Sequence[PseudoLabels]", agreement_px: float) -> PseudoLabels:
    """The mean over views of the same crops, all joints kept.

    Confidence is the views' geometric mean. Of two or more views it is multiplied by their agreement: exp(-1/2) where
    the mean distance from the mean position is ``agreement_px``.
    """
    uv = torch.stack([labels.uv_px for labels in views])
    confidence = torch.stack([labels.confidence for labels in views]).prod(0) ** (1 / len(views))
    if len(views) > 1:
        deviation = (uv - uv.mean(0)).norm(dim=-1).mean(0) / agreement_px
        confidence = confidence * torch.exp(-0.5 * deviation.square())
    depth = torch.stack([labels.relative_depth for labels in views]).mean(0)
    return PseudoLabels(uv.mean(0), depth, confidence, torch.ones_like(confidence, dtype=torch.bool))


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
