"""Base and driving frames: pairs of one sequence, some frames apart (Lin et al., NeurIPS 2023, Sec. 3.3.2, Table 4)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from posebridge.contracts.batch import BatchT, Observation
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError


@dataclass(frozen=True)
class PairConfig:
    """The distance of the two frames of a pair. The driving frame may come before the base frame or after it."""

    stride: tuple[int, int] = (5, 15)  # smallest and largest distance in frames; the best of Table 4

    def __post_init__(self):
        if not 0 <= self.stride[0] <= self.stride[1]:
            raise InputError(f"stride {self.stride} is not a range: give 0 <= smallest <= largest")


class FramePairs:
    """All pairs of frames of one sequence and view whose distance is within the stride.

    Distances are differences of frame numbers, so missing frames don't change the other pairs. Driving frames are
    drawn first, each once an epoch. A base frame is then drawn among those within the stride.
    """

    def __init__(self, sequence: Sequence[str], frame: Int[Tensor, "N"], view: Int[Tensor, "N"], config: PairConfig):
        """Raises ``InputError`` where no two frames fit."""
        self.config = config
        self._bases = _bases_by_driving(sequence, frame.tolist(), view.tolist(), config.stride)
        self.driving = np.array([i for i, bases in enumerate(self._bases) if any(map(len, bases))], dtype=np.int64)
        if not len(self.driving):
            longest = _longest(sequence, view.tolist())
            raise InputError(
                f"no two frames of one sequence are {config.stride[0]} to {config.stride[1]} frames apart (the longest "
                f"of {len(set(sequence))} sequences has {longest}): give videos, a folder a sequence, or another stride"
            )

    def __len__(self) -> int:
        """Frames that can be driving frames."""
        return len(self.driving)

    def draw(self, number: int, batch_size: int, seed: int) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
        """Positions of the base and the driving frames of batch ``number``, a function of the number and the seed."""
        drawn = np.arange(number * batch_size, (number + 1) * batch_size)
        epochs, places = np.divmod(drawn, len(self))
        orders = {epoch: np.random.default_rng([seed, epoch]).permutation(self.driving) for epoch in np.unique(epochs)}
        driving = np.array([orders[epoch][place] for epoch, place in zip(epochs, places, strict=True)])
        fraction = np.random.default_rng([seed, number, 1]).random(batch_size)
        base = [_at(self._bases[i], f) for i, f in zip(driving, fraction, strict=True)]
        return torch.tensor(base), torch.from_numpy(driving)


class PairStream(Generic[BatchT]):
    """Batches of pairs: the base frames first, then as many driving frames, in the same order."""

    def __init__(self, dataset: InMemoryDataset[BatchT], batch_size: int, seed: int, config: PairConfig | None = None):
        """``batch_size`` counts pairs. Raises ``InputError`` where the samples have no sequences or no pair fits."""
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.pairs = pairs_of(dataset.without_images(), config or PairConfig())

    def batch(self, number: int) -> BatchT:
        """Batch ``number``, of 2 ``batch_size`` samples; see ``split_pairs``."""
        base, driving = self.pairs.draw(number, self.batch_size, self.seed)
        return self.dataset.take(torch.cat([base, driving]))


def pairs_of(frames: Observation, config: PairConfig) -> FramePairs:
    """The pairs of a batch by its sequences, frames and views. Raises ``InputError`` where it has none."""
    if frames.sequence is None or frames.frame is None:
        raise InputError("pairs of frames need sequences: give a video, or images in a folder for each sequence")
    view = torch.zeros_like(frames.frame) if frames.view is None else frames.view
    return FramePairs(frames.sequence, frames.frame, view, config)


def split_pairs(batch: BatchT) -> tuple[BatchT, BatchT]:
    """Base and driving frames of a ``PairStream``'s batch."""
    half = len(batch) // 2
    return batch[:half], batch[half:]


def _bases_by_driving(
    sequence: Sequence[str], frame: list[int], view: list[int], stride: tuple[int, int]
) -> list[tuple[np.ndarray, ...]]:
    """For every frame the positions of its possible base frames: those before it and those after it.

    They are views of the sequence's positions, so that long sequences take no more memory than short ones.
    """
    members: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, name in enumerate(zip(sequence, view, strict=True)):
        members[name].append(i)
    bases: list[tuple[np.ndarray, ...]] = [()] * len(frame)
    for positions in members.values():
        own = np.array(sorted(positions, key=frame.__getitem__))
        numbers = np.array([frame[i] for i in own])
        for i, number in zip(own, numbers, strict=True):
            # The numbers are sorted, so the frames up to the largest distance are a slice, and those that are too near
            # are a slice within it.
            low, high = np.searchsorted(numbers, [number - stride[1], number + stride[1] + 1])
            near_low, near_high = np.searchsorted(numbers, [number - stride[0] + 1, number + stride[0]])
            near_low = max(near_low, low)
            bases[i] = (own[low:near_low], own[max(near_high, near_low) : high])
    return bases


def _at(parts: tuple[np.ndarray, ...], fraction: float) -> int:
    """The position at a fraction in [0, 1) of the parts' whole length."""
    before, after = parts
    place = int(fraction * (len(before) + len(after)))
    return int(before[place] if place < len(before) else after[place - len(before)])


def _longest(sequence: Sequence[str], view: list[int]) -> int:
    counts: dict[tuple[str, int], int] = defaultdict(int)
    for name in zip(sequence, view, strict=True):
        counts[name] += 1
    return max(counts.values(), default=0)
