"""Samples that are kept in memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from posebridge.contracts.batch import BatchT, Observation, concatenate
from posebridge.data.growing_tensor import GrowingTensor
from posebridge.errors import InputError

OtherT = TypeVar("OtherT", bound=Observation)

_PACKED = ("image", "depth_label_m")
_LARGE = (*_PACKED, "depth_m", "mask", "hand_mask", "vertices_m")
_JOINED = 64  # samples whose small fields are joined at once: thousands of small tensors would fragment the memory
_DEPTH_STEP_M = 0.0002
_DEPTH_LIMIT_M = 65535 * _DEPTH_STEP_M


class InMemoryDataset(Dataset[BatchT], Generic[BatchT]):
    """Samples kept in memory, decoded once. Items are batches of one; ``part`` and ``take`` give larger ones.

    Images are kept with 8 bits a channel, depth labels with 16 bits in steps of 0.2 mm (an error of at most 0.1 mm,
    up to 13.1 m), masks as booleans. All else, measured depth included, is kept exactly.
    """

    def __init__(self, samples: Iterable[BatchT]):
        """Raises ``InputError`` where there is no sample, or a depth label beyond 13.1 m.

        Samples are copied and freed one by one: the peak of memory is little above the set's own size.
        """
        rest: list[BatchT] = []
        small: list[BatchT] = []
        large: dict[str, GrowingTensor] = {}
        for sample in samples:
            small.append(_without_large(sample, large))
            if len(small) == _JOINED:
                rest.append(concatenate(small))
                small = []
        if not (rest or small):
            raise InputError("there is no sample to load: the frames are empty")
        whole = concatenate([*rest, *small])
        for name, values in large.items():
            if len(values) < len(whole):
                raise ValueError(f"cannot join batches: {name} is present in some and absent in others")
        joined = {name: large.pop(name).join() for name in tuple(large)}
        self._pixels = {name: joined.pop(name) for name in _PACKED if name in joined}
        self._rest = replace(whole, **joined)

    @classmethod
    def of_batch(cls, batch: BatchT) -> "InMemoryDataset[BatchT]":
        """A batch as a dataset: all its values are kept exactly, without a copy."""
        dataset: InMemoryDataset[BatchT] = object.__new__(cls)
        dataset._pixels = {name: value for name in _PACKED if (value := getattr(batch, name, None)) is not None}
        dataset._rest = replace(batch, **dict.fromkeys(dataset._pixels))
        return dataset

    def __len__(self) -> int:
        return len(self._rest)

    def __getitem__(self, index: int) -> BatchT:
        """A batch of one."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.part(slice(index, index + 1))

    def samples(self) -> Iterator[BatchT]:
        """Batches of one, in order."""
        return (self[index] for index in range(len(self)))

    def batches(self, size: int) -> Iterator[BatchT]:
        """Batches of ``size`` samples in order, the last one perhaps smaller."""
        return (self.part(slice(start, start + size)) for start in range(0, len(self), size))

    def take(self, index: Tensor) -> BatchT:
        """The samples at the given positions as one batch."""
        return replace(self._rest.take(index), **self._unpacked(index))

    def all(self) -> BatchT:
        """All samples as one batch, whose images take four times the memory of the set's own."""
        return self.part(slice(0, len(self)))

    def without_images(self) -> BatchT:
        """Keys, sequences, cameras and labels of all samples, but no images and no depth labels."""
        return self._rest

    def map(self, function: Callable[[BatchT], OtherT]) -> "InMemoryDataset[OtherT]":
        """The same images with what ``function`` makes of the rest, a batch whose ``image`` is None.

        A result without labels has no depth label either.
        """
        other: InMemoryDataset[OtherT] = object.__new__(InMemoryDataset)
        other._rest = function(self._rest)
        names = {f.name for f in fields(other._rest)}
        other._pixels = {name: values for name, values in self._pixels.items() if name in names}
        return other

    def subset(self, index: slice) -> "InMemoryDataset[BatchT]":
        """A contiguous part as a dataset, without a copy. Raises ``InputError`` for an empty one."""
        subset: InMemoryDataset[BatchT] = object.__new__(InMemoryDataset)
        subset._rest = self._rest[index]
        subset._pixels = {name: values[index] for name, values in self._pixels.items()}
        if not len(subset):
            raise InputError(f"there are {len(self)} samples, and none from {index.start} on: ask for fewer")
        return subset

    def part(self, index: slice) -> BatchT:
        """A contiguous part as one batch."""
        return replace(self._rest[index], **self._unpacked(index))

    def _unpacked(self, index: Tensor | slice) -> Mapping[str, Tensor]:
        return {name: _unpacked(name, values[index]) for name, values in self._pixels.items()}


def _without_large(sample: BatchT, large: dict[str, GrowingTensor]) -> BatchT:
    """The sample without its large fields, which are appended to ``large``."""
    present = {name: value for name in _LARGE if (value := getattr(sample, name, None)) is not None}
    for name, value in present.items():
        packed = _packed(name, value)
        if name not in large:
            large[name] = GrowingTensor(packed)
        large[name].append(packed)
    return replace(sample, **dict.fromkeys(present))


def _packed(name: str, values: Tensor) -> Tensor:
    match name:
        case "image":
            return (values * 255).round().to(torch.uint8)
        case "depth_label_m":
            if not 0 <= values.max() <= _DEPTH_LIMIT_M:
                raise InputError(
                    f"depth labels reach {values.max():g} m: {_DEPTH_LIMIT_M:.1f} m is the most; set farther ones to 0"
                )
            return (values / _DEPTH_STEP_M).round().to(torch.uint16)
        case _:
            return values


def _unpacked(name: str, stored: Tensor) -> Tensor:
    if stored.is_floating_point():  # of a batch that was not packed
        return stored
    return stored.float() / 255 if name == "image" else stored * _DEPTH_STEP_M
