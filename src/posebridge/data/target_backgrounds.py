"""Unlabelled pictures of the target behind rendered subjects.

A square is cut from a target frame where a model predicts no part of the subject. Renders whose background it becomes
keep their labels. No label of the target is needed.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.compositing import composite
from posebridge.data.in_memory import InMemoryDataset
from posebridge.draw import generator_for
from posebridge.skeletons.skeleton import Skeleton

_SIDE_FRAC = (0.2, 0.6)  # of the frame's side, of a square
_MARGIN_FRAC = 0.06  # of the frame's side, between a square and the predicted bones: half the width of a palm
_TRIES = 16  # squares of a frame; the first that is clear of the subject is taken
_ALONG_BONE = 6  # points of a bone that have to lie outside
_BATCH = 256


def background_bank(
    frames: InMemoryDataset[UnlabelledBatch], uv_px: Float[Tensor, "N J 2"], skeleton: Skeleton, count: int, seed: int
) -> UInt8[Tensor, "M 3 S S"]:
    """Squares of the frames without the subject, resized to the frames' size; at most ``count``, perhaps none.

    Args:
        frames: N target crops with images.
        uv_px: the joints that a model predicts in them, in pixels of the crops.
        skeleton: of these joints.
        count: squares to look for, each in a random frame.
        seed: of the draws.
    """
    generator = generator_for(seed, 0)
    chosen = torch.randint(len(frames), (count,), generator=generator)
    squares = [_square(frames[int(i)].rgb[0], _bone_points(uv_px[i], skeleton), generator) for i in chosen]
    found = [square for square in squares if square is not None]
    size = frames[0].rgb.shape[-1]
    return torch.stack(found) if found else torch.zeros(0, 3, size, size, dtype=torch.uint8)


def with_backgrounds(
    renders: InMemoryDataset[LabelledBatch], bank: UInt8[Tensor, "M 3 S S"], probability: float, seed: int
) -> InMemoryDataset[LabelledBatch]:
    """Renders, each with the given probability before a random picture of the bank; their masks are needed."""
    generator = generator_for(seed, 1)

    def composited() -> Iterator[LabelledBatch]:
        for part in renders.batches(_BATCH):
            yield _composite(part, bank, probability, generator)

    return InMemoryDataset(composited())


def _bone_points(uv_px: Float[Tensor, "J 2"], skeleton: Skeleton) -> Float[Tensor, "P 2"]:
    parents, children = (torch.tensor(side) for side in zip(*skeleton.bones, strict=True))
    along = torch.linspace(0, 1, _ALONG_BONE)[:, None, None]
    return torch.lerp(uv_px[parents], uv_px[children], along).flatten(0, 1)


def _square(
    image: Float[Tensor, "3 S S"], points: Float[Tensor, "P 2"], generator: torch.Generator
) -> UInt8[Tensor, "3 S S"] | None:
    size = image.shape[-1]
    margin = _MARGIN_FRAC * size
    low, high = _SIDE_FRAC
    for _ in range(_TRIES):
        side_draw, u_draw, v_draw, flip_draw = torch.rand(4, generator=generator).tolist()
        side = round(size * (low + (high - low) * side_draw))
        u, v = round(u_draw * (size - side)), round(v_draw * (size - side))
        inside = (points > points.new_tensor([u - margin, v - margin])) & (
            points < points.new_tensor([u + side + margin, v + side + margin])
        )
        if not inside.all(dim=1).any():
            part = image[None, :, v : v + side, u : u + side]
            part = part.flip(-1) if flip_draw < 0.5 else part
            resized = F.interpolate(part, size=(size, size), mode="bilinear", align_corners=False)
            return (resized[0] * 255).round().to(torch.uint8)
    return None


def _composite(
    batch: LabelledBatch, bank: UInt8[Tensor, "M 3 S S"], probability: float, generator: torch.Generator
) -> LabelledBatch:
    if batch.mask is None:
        raise ValueError("renders need masks to be put before other backgrounds")
    chosen = torch.rand(len(batch), generator=generator) < probability
    picture = torch.randint(len(bank), (len(batch),), generator=generator)
    kept = batch.mask | ~chosen[:, None, None]
    return replace(batch, image=composite(batch.rgb, kept, bank[picture].float() / 255))
