"""Sets of views: what several cameras saw at one moment, drawn together."""

from collections import defaultdict
from typing import Generic

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from posebridge.contracts.batch import BatchT, Observation
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError


class SetStream(Generic[BatchT]):
    """Batches of sets, set-major: samples i V to (i + 1) V are the views of set i, lowest view first.

    Sets come in random permutations, one after the other. Of a larger set the first ``views`` of a random order.
    """

    def __init__(self, dataset: InMemoryDataset[BatchT], sets: int, seed: int, views: int):
        """``sets`` counts those of a batch. Raises ``InputError`` where no set has so many views."""
        self.dataset, self.sets, self.seed, self.views = dataset, sets, seed, views
        self.members = [own for own in sets_of(dataset.without_images()) if len(own) >= views]
        if not self.members:
            raise InputError(
                f"no moment was seen by {views} cameras: give calibrated views with the same sequence and frame, "
                "or adapt from single views"
            )

    def batch(self, number: int) -> BatchT:
        """Batch ``number``: always the same for the same number."""
        drawn = np.arange(number * self.sets, (number + 1) * self.sets)
        epochs, places = np.divmod(drawn, len(self.members))
        index = []
        for epoch, place, count in zip(epochs.tolist(), places.tolist(), drawn.tolist(), strict=True):
            own = self.members[np.random.default_rng([self.seed, epoch]).permutation(len(self.members))[place]]
            chosen = np.random.default_rng([self.seed, count, 1]).permutation(len(own))[: self.views]
            index.append(own[torch.from_numpy(np.sort(chosen))])
        return self.dataset.take(torch.cat(index))


def sets_of(frames: Observation) -> list[Int[Tensor, "V"]]:
    """Positions of the samples of each moment, by view; a sample without sequence or frame is a set of its own.

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
            raise InputError(f"{sequence}, frame {frame}: one view has several pictures of it; number the views apart")
    return [torch.tensor([i for _, i in sorted(own)]) for own in members.values()]
