"""Point clouds of the visible surface of a hand, from depth labels and masks of colour crops."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from posebridge.contracts.batch import LabelledBatch

_LEAST_POINTS = 16  # pixels with depth, below which a sample has no cloud


@dataclass(frozen=True)
class Clouds:
    """Clouds of N points each, in the frame of the camera; zero for samples without one."""

    points_m: Float[Tensor, "B N 3"]
    present: Bool[Tensor, "B"]


def draw_clouds(batch: LabelledBatch, count: int, generator: Generator) -> Clouds:
    """``count`` points of each hand, drawn anew at each call.

    Pixels of the hand with depth are drawn without repetition. Where a hand has fewer of them, all are taken, and all
    equally often but for the remainder. A hand of fewer than 16 such pixels has no cloud.
    Raises ``ValueError`` for a batch without depth labels, mask of the hand or intrinsics.
    """
    depth_m, mask, camera = batch.depth_label_m, batch.hand_mask, batch.camera
    if depth_m is None or mask is None or camera is None:
        raise ValueError("clouds need depth_label_m, hand_mask and intrinsics")
    usable = mask & depth_m.isfinite() & (depth_m > 0)
    index, present = _draw(usable.flatten(1), count, generator)
    v, u = index // depth_m.shape[-1], index % depth_m.shape[-1]
    drawn_m = depth_m.flatten(1).gather(1, index)
    points_m = camera.unproject(torch.stack([u, v], dim=-1).to(drawn_m), drawn_m)
    return Clouds(torch.where(present[:, None, None], points_m, 0), present)


def _draw(
    usable: Bool[Tensor, "B P"], count: int, generator: Generator
) -> tuple[Int[Tensor, "B N"], Bool[Tensor, "B"]]:
    """Positions of ``count`` usable points of each row, and which rows have enough of them."""
    number = usable.sum(dim=1)
    priority = torch.rand(usable.shape, generator=generator).to(usable.device).masked_fill(~usable, -1.0)
    order = priority.topk(min(count, usable.shape[1]), dim=1).indices
    repeated = torch.arange(count, device=usable.device) % number.clamp(1, order.shape[1])[:, None]
    return order.gather(1, repeated), number >= _LEAST_POINTS
