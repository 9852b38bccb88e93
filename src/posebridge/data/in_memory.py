"""Samples that are kept in memory."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from posebridge.contracts.batch import BatchT, Observation, concatenate
from posebridge.errors import InputError

OtherT = TypeVar("OtherT", bound=Observation)


class InMemoryDataset(Dataset[BatchT], Generic[BatchT]):
    """Samples kept in memory, images as 8 bit: a target of some thousand crops is decoded once.

    Reading keeps what the samples hold, 8-bit images exactly. Items are batches of one; ``part`` gives larger ones.
    """

    def __init__(self, samples: Iterable[BatchT]):
        """Raises ``InputError`` where there is no sample."""
        parts = [replace(sample, image=_to_bytes(sample.image)) for sample in samples]
        if not parts:
            raise InputError("there is no sample to hold: the source of frames gave none")
        whole = concatenate(parts)
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

    def without_images(self) -> BatchT:
        """Everything but the images: keys, sequences, cameras, labels."""
        return self._rest

    def map(self, function: Callable[[BatchT], OtherT]) -> "InMemoryDataset[OtherT]":
        """The same images under what ``function`` makes of the rest, a batch whose ``image`` is None."""
        other: InMemoryDataset[OtherT] = object.__new__(InMemoryDataset)
        other._images, other._rest = self._images, function(self._rest)
        return other

    def part(self, index: slice) -> BatchT:
        """A contiguous part as one batch."""
        image = None if self._images is None else self._images[index].float() / 255
        return replace(self._rest[index], image=image)


def _to_bytes(image: Tensor | None) -> Tensor | None:
    return None if image is None else (image * 255).round().to(torch.uint8)
