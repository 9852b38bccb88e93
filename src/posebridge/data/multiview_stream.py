"""Batches of views of the same moments: samples of several cameras, drawn together."""

from collections import defaultdict
from typing import Generic

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from posebridge.contracts.batch import BatchT, Observation
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError


class MultiViewStream(Generic[BatchT]):
    """Batches of moments: samples i V to (i + 1) V are the V views of moment i, lowest view first.

    Moments come in random permutations, one after the other. Of a moment with more views, V random ones are drawn.
    """

    def __init__(self, dataset: InMemoryDataset[BatchT], moments: int, seed: int, views: int):
        """``moments`` of a batch, ``views`` (V) of each. Raises ``InputError`` where no moment has so many views."""
        self.dataset, self.moments, self.seed, self.views = dataset, moments, seed, views
        self.members = [moment for moment in moments_of(dataset.without_images()) if len(moment) >= views]
        if not self.members:
            raise InputError(
                f"no moment was seen by {views} cameras: give calibrated views with the same sequence and frame, "
                "or adapt from single views"
            )

    def batch(self, number: int) -> BatchT:
        """Batch ``number``, a function of the number and the seed."""
        drawn = np.arange(number * self.moments, (number + 1) * self.moments)
        epochs, places = np.divmod(drawn, len(self.members))
        index = []
        for epoch, place, count in zip(epochs.tolist(), places.tolist(), drawn.tolist(), strict=True):
            moment = self.members[np.random.default_rng([self.seed, epoch]).permutation(len(self.members))[place]]
            chosen = np.random.default_rng([self.seed, count, 1]).permutation(len(moment))[: self.views]
            index.append(moment[torch.from_numpy(np.sort(chosen))])
        return self.dataset.take(torch.cat(index))


def moments_of(frames: Observation) -> list[Int[Tensor, "V"]]:
    """Positions of the samples of each moment, in the order of their views.

    A sample without sequence or frame is a moment of its own.

    Raises ``InputError`` where one camera has two pictures of a moment.
    """
    if frames.sequence is None or frames.frame is None:
        return [torch.tensor([i]) for i in range(len(frames))]
    view = torch.zeros_like(frames.frame) if frames.view is None else frames.view
    members: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for i, moment in enumerate(zip(frames.sequence, frames.frame.tolist(), strict=True)):
        members[moment].append((int(view[i]), i))
    for (sequence, frame), own in members.items():
        if len({v for v, _ in own}) < len(own):
            raise InputError(
                f"{sequence}, frame {frame}: one view has several pictures of it; give the views different numbers"
            )
    return [torch.tensor([i for _, i in sorted(own)]) for own in members.values()]
