"""Batches for training: seeded, the same for any number of workers, and able to go on where a run stopped."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from posebridge.contracts.batch import BatchT, Observation, concatenate
from posebridge.errors import InputError

OtherT = TypeVar("OtherT", bound=Observation)


class EndlessSampler(Sampler[int]):
    """Random permutations of ``length`` indices, one after the other without end.

    Sample n is a function of (seed, n) alone, so ``start = n`` continues exactly where a run stopped after n samples.
    With several ``ranks``, rank r draws samples start + r, start + r + ranks, ...; ``start`` counts those of all.
    """

    def __init__(self, length: int, seed: int, start: int = 0, rank: int = 0, ranks: int = 1):
        if length < 1:
            raise ValueError("there is nothing to sample from")
        self.length = length
        self.seed = seed
        self.start = start
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[int]:
        """Indices without end."""
        n, drawn_epoch, order = self.start + self.rank, -1, np.empty(0, dtype=np.int64)
        while True:
            epoch, position = divmod(n, self.length)
            if epoch != drawn_epoch:
                order, drawn_epoch = np.random.default_rng([self.seed, epoch]).permutation(self.length), epoch
            yield int(order[position])
            n += self.ranks


class Held(Dataset[BatchT], Generic[BatchT]):
    """Samples kept in memory, images as 8 bit: a target of some thousand crops is decoded once.

    Reading keeps what the samples hold, 8-bit images exactly. Items are batches of one; ``part`` gives larger ones.
    """

    def __init__(self, samples: Iterable[BatchT]):
        """Raises ``InputError`` where there is no sample."""
        held = [replace(sample, image=_to_bytes(sample.image)) for sample in samples]
        if not held:
            raise InputError("there is no sample to hold: the source of frames gave none")
        whole = concatenate(held)
        self._images = whole.image
        self._rest = replace(whole, image=None)

    def __len__(self) -> int:
        return len(self._rest)

    def __getitem__(self, index: int) -> BatchT:
        """A batch of one."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.part(slice(index, index + 1))

    def take(self, index: Tensor) -> BatchT:
        """The samples at the given positions as one batch."""
        image = None if self._images is None else self._images[index].float() / 255
        return replace(self._rest.take(index), image=image)

    def all(self) -> BatchT:
        """All samples as one batch."""
        return self.part(slice(0, len(self)))

    def names(self) -> BatchT:
        """Everything but the images: keys, sequences, cameras, labels."""
        return self._rest

    def map(self, function: Callable[[BatchT], OtherT]) -> "Held[OtherT]":
        """The same images under what ``function`` makes of the rest, a batch whose ``image`` is None."""
        other: Held[OtherT] = object.__new__(Held)
        other._images, other._rest = self._images, function(self._rest)
        return other

    def part(self, index: slice) -> BatchT:
        """A contiguous part as one batch."""
        image = None if self._images is None else self._images[index].float() / 255
        return replace(self._rest[index], image=image)


def endless_loader(
    dataset: Dataset[BatchT], batch_size: int, sampler: Iterable[int], workers: int = 0, pin_memory: bool = False
) -> DataLoader[BatchT]:
    """Full batches without end, in the order of the sampler whatever the number of workers."""
    return _loader(dataset, batch_size, workers, sampler=sampler, pin_memory=pin_memory)


def ordered_loader(dataset: Dataset[BatchT], batch_size: int, workers: int = 0) -> DataLoader[BatchT]:
    """Every sample once, in order; the last batch may be smaller."""
    return _loader(dataset, batch_size, workers)


class _Loader(DataLoader[BatchT]):
    """A ``DataLoader`` whose workers' ``InputError`` stays one line: torch puts the worker's traceback before it."""

    def __iter__(self) -> Any:
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches, None)
            except InputError as error:
                line = str(error).strip().splitlines()[-1].partition("Error: ")[2] or str(error)
                # Frames in a traceback would keep the workers until a garbage collection, which then stalls for 5 s.
                error.__traceback__ = None
                del batches
                raise InputError(line) from None
            if batch is None:
                return
            yield batch


def _loader(dataset: Dataset[BatchT], batch_size: int, workers: int, **options: Any) -> DataLoader[BatchT]:
    # A worker must not set OpenCV's number of threads: after a fork of a process that has used OpenCV, that hangs.
    return _Loader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=concatenate,
        **options,
    )


def _to_bytes(image: Tensor | None) -> Tensor | None:
    return None if image is None else (image * 255).round().to(torch.uint8)
