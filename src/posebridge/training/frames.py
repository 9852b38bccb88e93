"""Frames to train on, labelled or not, as streams of batches, pairs or sets of views."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import torch

from posebridge.contracts.batch import BatchT, Observation
from posebridge.contracts.source_labels import JOINTS, SourceLabels
from posebridge.data.dataset_stream import CropRange, Crops, DatasetPairStream, DatasetStream, ordered_batches
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.multiview_stream import MultiViewStream
from posebridge.data.pairs import FramePairs, PairConfig, PairStream
from posebridge.data.skipped_list import SkippedList
from posebridge.data.streams import ShuffledStream, Stream
from posebridge.errors import InputError

FrameBatchT = TypeVar("FrameBatchT", bound=Observation, covariant=True)


class Frames(Protocol[FrameBatchT]):
    """Frames of one domain. Each stage takes its batches in the form and size that it needs."""

    def __len__(self) -> int:
        """The number of frames, those that can't be read included."""
        ...

    def subset(self, index: slice) -> "Frames[FrameBatchT]":
        """A contiguous part of the single frames. Raises ``InputError`` for an empty one."""
        ...

    def batches(self, size: int) -> Stream[FrameBatchT]:
        """Batches of ``size`` single frames."""
        ...

    def in_order(self, size: int) -> Iterator[tuple[list[int], FrameBatchT]]:
        """Each frame that can be read, once and in order: batches of at most ``size``, with the frames' indices."""
        ...

    def pairs(self, count: int, config: PairConfig) -> Stream[FrameBatchT]:
        """Batches of ``count`` pairs of frames of one sequence. Raises ``InputError`` for frames without pairs."""
        ...

    def view_sets(self, count: int, views: int) -> Stream[FrameBatchT]:
        """Batches of ``count`` sets of ``views`` calibrated views. Raises ``InputError`` for frames without sets."""
        ...


@dataclass(frozen=True)
class InMemoryFrames(Generic[BatchT]):
    """Frames that are kept in memory. ``videos`` are the frames that form pairs; None: no pairs."""

    dataset: InMemoryDataset[BatchT]
    seed: int
    videos: InMemoryDataset[BatchT] | None = None

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.dataset)

    def subset(self, index: slice) -> "InMemoryFrames[BatchT]":
        """A contiguous part of the single frames, without pairs."""
        return InMemoryFrames(self.dataset.subset(index), self.seed)

    def batches(self, size: int) -> ShuffledStream[BatchT]:
        """Batches of ``size`` frames, in random permutations of all."""
        return ShuffledStream(self.dataset, size, self.seed)

    def in_order(self, size: int) -> Iterator[tuple[list[int], BatchT]]:
        """Each frame once and in order, in batches of at most ``size``, with the frames' indices."""
        for start in range(0, len(self), size):
            indices = list(range(start, min(start + size, len(self))))
            yield indices, self.dataset.part(slice(start, start + size))

    def pairs(self, count: int, config: PairConfig) -> PairStream[BatchT]:
        """Batches of ``count`` pairs of frames of one video."""
        if self.videos is None:
            raise InputError("these frames form no pairs: give videos, or a method that takes single frames")
        return PairStream(self.videos, count, self.seed, config)

    def view_sets(self, count: int, views: int) -> MultiViewStream[BatchT]:
        """Batches of ``count`` sets of ``views`` views of one moment."""
        return MultiViewStream(self.dataset, count, self.seed, views)


@dataclass(frozen=True)
class DatasetFrames(Generic[BatchT]):
    """Frames that are read from disk batch by batch. Unreadable files are noted in ``skipped``.

    ``find_pairs`` returns the pairs among the crops' frames. ``labels`` are those that labelled crops keep.
    """

    crops: Crops[BatchT]
    seed: int
    skipped: SkippedList
    find_pairs: Callable[[PairConfig], FramePairs] | None = None
    labels: SourceLabels = JOINTS

    def __len__(self) -> int:
        """The number of frames, those that can't be read included."""
        return len(self.crops)

    def subset(self, index: slice) -> "DatasetFrames[BatchT]":
        """A contiguous part of the single frames, without pairs."""
        return replace(self, crops=CropRange(self.crops, index), find_pairs=None)

    def batches(self, size: int) -> DatasetStream[BatchT]:
        """Batches of ``size`` frames, in random permutations of all."""
        return DatasetStream(self.crops, size, self.seed, self.skipped, self.labels)

    def in_order(self, size: int) -> Iterator[tuple[list[int], BatchT]]:
        """Each frame that can be read, once and in order. Raises ``InputError`` where none can be read."""
        return ordered_batches(self.crops, size, self.skipped)

    def pairs(self, count: int, config: PairConfig) -> DatasetPairStream[BatchT]:
        """Batches of ``count`` pairs of frames of one sequence."""
        if self.find_pairs is None:
            raise InputError("this dataset has no sequences: choose a method that takes single frames")
        return DatasetPairStream(self.crops, self.find_pairs(config), count, self.seed, self.skipped, self.labels)

    def view_sets(self, count: int, views: int) -> Stream[BatchT]:
        """Not available: sets of views are read into memory. Raises ``InputError``."""
        raise InputError("sets of views are not read from disk: choose a method that takes single frames")


def distinct_frames(frames: BatchT) -> BatchT:
    """Each frame of a batch once: a batch of a small set repeats them."""
    first = {key: position for position, key in reversed([*enumerate(frames.key)])}
    return frames.take(torch.tensor(sorted(first.values())))
