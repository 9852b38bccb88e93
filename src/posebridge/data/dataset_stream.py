"""Streams over datasets that are too large for memory: a batch's crops are read from disk when it is requested.

Images are decoded in the data loader's workers. A frame that can't be read never stops a run: the next frame of the
permutation replaces it, and the file is noted in a list on disk that all processes share. So a batch is a function of
its number and of the files.

A stream of ``UnlabelledCrops`` gives ``UnlabelledBatch``; it reads no label.
"""

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from posebridge.contracts.batch import BatchT, LabelledBatch, Observation, concatenate
from posebridge.contracts.source_labels import JOINTS, SourceLabels, describe_missing
from posebridge.data.frames import FrameSource, UnreadableFrameError
from posebridge.data.pairs import FramePairs, PairConfig
from posebridge.data.skipped_list import SkippedList
from posebridge.data.source_labels import missing_label, select_labels
from posebridge.data.streams import leave_ctrl_c_to_the_main_process
from posebridge.data.worker_transfer import packed, unpacked
from posebridge.errors import InputError

_MOST_UNREADABLE = 100  # in a row, after which the dataset is refused
CropT = TypeVar("CropT", bound=Observation, covariant=True)


class Crops(Protocol[CropT]):
    """Crops by index, one a batch: ``LabelledCrops`` and ``UnlabelledCrops``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> CropT:
        """Raises ``UnreadableFrameError`` where the frame's file is broken."""
        ...


class CropRange(Generic[CropT]):
    """A contiguous part of crops."""

    def __init__(self, crops: Crops[CropT], index: slice):
        """Raises ``InputError`` for an empty part."""
        self.crops = crops
        self.positions = range(len(crops))[index]
        if not self.positions:
            raise InputError(f"there are {len(crops)} frames, and none from {index.start} on: ask for fewer")

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> CropT:
        """Raises ``UnreadableFrameError`` where the frame's file is broken."""
        return self.crops[self.positions[index]]


class DatasetStream(Generic[BatchT]):
    """Random permutations of the crops of a dataset, one after the other: the order of ``ShuffledStream``.

    Where a frame can't be read, or lacks a requested label, the next one of its permutation replaces it.
    """

    def __init__(
        self, crops: Crops[BatchT], batch_size: int, seed: int, skipped: SkippedList, labels: SourceLabels = JOINTS
    ):
        """``labels`` are those that labelled crops keep; all others are dropped."""
        self.crops = crops
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed
        self.skipped = skipped
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)  # the permutation that was used last

    def batch(self, number: int) -> BatchT:
        """Batch ``number``. Raises ``InputError`` where 100 frames in a row, or all of them, can't be read."""
        drawn = range(number * self.batch_size, (number + 1) * self.batch_size)
        return concatenate([self._draw(n) for n in drawn])

    def _draw(self, n: int) -> BatchT:
        epoch, place = divmod(n, len(self.crops))
        order = self._permutation(epoch)
        tries = min(_MOST_UNREADABLE, len(order))
        for i in range(tries):
            crop = read_crop(self.crops, int(order[(place + i) % len(order)]), self.skipped, self.labels)
            if crop is not None:
                return crop
        raise _nothing_readable(tries, "frames", self.skipped)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.crops))
            self._epoch = epoch
        return self._order


class DatasetPairStream(Generic[BatchT]):
    """Batches of pairs, as ``PairStream`` has them: the base frames first, then as many driving frames.

    Where a frame of a pair can't be read, the next pair of the row is drawn in its place.
    """

    def __init__(
        self,
        crops: Crops[BatchT],
        pairs: FramePairs,
        batch_size: int,
        seed: int,
        skipped: SkippedList,
        labels: SourceLabels = JOINTS,
    ):
        """``pairs`` are those of the crops' frames; ``batch_size`` counts pairs; ``labels`` as in ``DatasetStream``."""
        self.crops = crops
        self.labels = labels
        self.pairs = pairs
        self.batch_size = batch_size
        self.seed = seed
        self.skipped = skipped

    def batch(self, number: int) -> BatchT:
        """Batch ``number``, of 2 ``batch_size`` samples; ``split_pairs`` parts it. Raises as ``DatasetStream`` does."""
        base, driving = self.pairs.draw(number, self.batch_size, self.seed)
        read: list[tuple[BatchT, BatchT]] = []
        for place, (b, d) in enumerate(zip(base.tolist(), driving.tolist(), strict=True)):
            read.append(self._read(b, d) or self._next_readable(number * self.batch_size + place))
        return concatenate([pair[0] for pair in read] + [pair[1] for pair in read])

    def _next_readable(self, position: int) -> tuple[BatchT, BatchT]:
        """The first pair after the one at ``position`` that can be read."""
        for i in range(1, _MOST_UNREADABLE):
            number, place = divmod(position + i, self.batch_size)
            base, driving = self.pairs.draw(number, self.batch_size, self.seed)
            if pair := self._read(int(base[place]), int(driving[place])):
                return pair
        raise _nothing_readable(_MOST_UNREADABLE, "pairs", self.skipped)

    def _read(self, base: int, driving: int) -> tuple[BatchT, BatchT] | None:
        first = read_crop(self.crops, base, self.skipped, self.labels)
        second = None if first is None else read_crop(self.crops, driving, self.skipped, self.labels)
        return None if first is None or second is None else (first, second)


def read_crop(crops: Crops[BatchT], index: int, skipped: SkippedList, labels: SourceLabels = JOINTS) -> BatchT | None:
    """The crop with the given labels and no others; None where it can't be used, which is then noted.

    It can't be used where its file is broken, or where it lacks a label: releases have masks and meshes for some
    frames only, and a batch has a field for all of its frames or for none.
    """
    try:
        crop = crops[index]
    except UnreadableFrameError as error:
        skipped.note(error.file, error.reason)
        return None
    if not isinstance(crop, LabelledBatch):
        return crop
    if missing := missing_label(crop, labels):
        skipped.note(crop.key[0], describe_missing(missing))
        return None
    return select_labels(crop, labels)


def ordered_batches(
    crops: Crops[BatchT], size: int, skipped: SkippedList, workers: int = 0
) -> Iterator[tuple[list[int], BatchT]]:
    """Each crop that can be read, once and in order, in batches of at most ``size``; the others are noted.

    Batches come with the indices of their crops. Raises ``InputError`` where none can be read.
    """
    loader = DataLoader(
        _Parts(crops, size, skipped),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=leave_ctrl_c_to_the_main_process,
    )
    read_any = False
    for part in map(unpacked, loader):
        if isinstance(part, InputError):
            raise part
        if part is not None:
            read_any = True
            yield part
    if not read_any:
        raise _nothing_readable(len(crops), "frames", skipped)


class _Parts(Dataset[Any]):
    """Consecutive crops as batches with their indices, as ``packed`` gives them; None where none can be read.

    An error is returned, not raised, since torch would put the worker's traceback before its line.
    """

    def __init__(self, crops: Crops[Observation], size: int, skipped: SkippedList):
        self.crops = crops
        self.size = size
        self.skipped = skipped

    def __len__(self) -> int:
        return -(-len(self.crops) // self.size)

    def __getitem__(self, number: int) -> Any:
        return packed(self._read(number))

    def _read(self, number: int) -> tuple[list[int], Observation] | InputError | None:
        part = range(number * self.size, min((number + 1) * self.size, len(self.crops)))
        try:
            read = {i: crop for i in part if (crop := read_crop(self.crops, i, self.skipped)) is not None}
        except InputError as error:
            return error
        return ([*read], concatenate([*read.values()])) if read else None


def dataset_pairs(frames: FrameSource, config: PairConfig) -> FramePairs:
    """The pairs of a reader's frames, found without opening an image: by sequence, number and view.

    Raises ``InputError`` where no two frames fit, and for a reader whose frames are single images.
    """
    index = frames.frame_index()
    return FramePairs(index.sequence, torch.from_numpy(index.frame), torch.from_numpy(index.view), config)


def _nothing_readable(count: int, kind: str, skipped: SkippedList) -> InputError:
    file, reason = next(reversed(skipped.read().items()))
    return InputError(f"{count} {kind} in a row can't be read, the last one because: {file}: {reason}")
