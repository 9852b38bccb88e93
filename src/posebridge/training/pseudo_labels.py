"""Pseudo-labels of a slow teacher: where they are, which to trust, and how good they turn out to be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.augment import trade_sides, warp_points
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose_maps import PoseMaps
from posebridge.training.stage import MapPair


@dataclass(frozen=True)
class PseudoLabels:
    """Joints that a teacher saw in B crops."""

    uv_px: Float[Tensor, "B J 2"]  # pixels of the crop
    relative_depth: Float[Tensor, "B J"]
    confidence: Float[Tensor, "B J"]
    kept: Bool[Tensor, "B J"]  # trusted
    # Where there are two reasons for trust: who has which.
    by_evidence: Bool[Tensor, "B J"] | None = None
    by_anatomy: Bool[Tensor, "B J"] | None = None

    def seen_through(self, T_view_crop: Float[Tensor, "B 3 3"], mirror: Sequence[int]) -> "PseudoLabels":
        """The same joints in the pixels of a view; a view that mirrors turns left joints into right ones."""
        return PseudoLabels(
            warp_points(self.uv_px, T_view_crop, mirror),
            *(trade_sides(v, T_view_crop, mirror) for v in (self.relative_depth, self.confidence, self.kept)),
        )


@torch.no_grad()
def look(network: Callable[[Tensor], MapPair], maps: PoseMaps, images: Float[Tensor, "B 3 H W"]) -> PseudoLabels:
    """What a network sees; everything is kept."""
    heat, depth = network(images)
    pose = maps.read(heat, depth)
    uv_px = image_from_map(pose.uv_map, images.shape[-2:], heat.shape[-2:])
    return PseudoLabels(uv_px, pose.relative_depth, pose.confidence, torch.ones_like(pose.confidence, dtype=torch.bool))


def keep_most_confident(confidence: Float[Tensor, "B J"], share: float) -> Bool[Tensor, "B J"]:
    """The given share of all joints of the batch, the most confident ones: one threshold, not one a joint."""
    count = max(1, round(share * confidence.numel()))
    threshold = confidence.flatten().topk(count).values[-1]
    return confidence >= threshold


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the parameters (mean teacher, Tarvainen & Valpola 2017).

    Buffers stay the average's own: its batch statistics come from its own forward passes.
    """
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast.to(slow.dtype), 1 - decay)


@runtime_checkable
class ShowsPseudoLabels(Protocol):
    """A stage that learns from pseudo-labels and can show them."""

    def pseudo_labels(self, frames: UnlabelledBatch) -> PseudoLabels:
        """What would be taught of un-augmented frames."""
        ...
