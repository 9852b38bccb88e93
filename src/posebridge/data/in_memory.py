"""Samples that are kept in memory."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from posebridge.contracts.batch import BatchT, Observation, concatenate
from posebridge.errors import InputError

OtherT = TypeVar("OtherT", bound=Observation)

_PACKED = ("image", "depth_label_m")
_LARGE = (*_PACKED, "depth_m", "mask", "hand_mask", "vertices_m")
_DEPTH_STEP_M = 0.0002
_DEPTH_LIMIT_M = 65535 * _DEPTH_STEP_M


class InMemoryDataset(Dataset[BatchT], Generic[BatchT]):
    """Samples kept in memory, decoded once. Items are batches of one; ``part`` and ``take`` give larger ones.

    Images are kept with 8 bits a channel, depth labels with 16 bits in steps of 0.2 mm (an error of at most 0.1 mm,
    up to 13.1 m), masks as booleans. All else, measured depth included, is kept exactly.
    """

    def __init__(self, samples: Iterable[BatchT]):
        """Raises ``InputError`` where there is no sample, or a depth label beyond 13.1 m.

        The largest fields are copied part by part, each of which is freed at once: the peak is little above the end.
        """
        small: list[BatchT] = []
        large: dict[str, list[Tensor]] = {name: [] for name in _LARGE}
        for sample in samples:
            present = {name: value for name in _LARGE if (value := getattr(sample, name, None)) is not None}
            for name, value in present.items():
                large[name].append(_packed(name, value))
            small.append(replace(sample, **dict.fromkeys(present)))
        if not small:
            raise InputError("there is no sample to load: the frames are empty")
        joined = {name: _joined(name, parts, len(small)) for name, parts in large.items() if parts}
        self._pixels = {name: joined.pop(name) for name in _PACKED if name in joined}
        self._rest = replace(concatenate(small), **joined)

    def __len__(self) -> int:
        return len(self._rest)

    def __getitem__(self, index: int) -> BatchT:
        """A batch of one."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.part(slice(index, index + 1))

    def take(self, index: Tensor) -> BatchT:
        """The samples at the given positions as one batch."""
        return replace(self._rest.take(index), **self._unpacked(index))

    def all(self) -> BatchT:
        """All samples as one batch."""
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

    def part(self, index: slice) -> BatchT:
        """A contiguous part as one batch."""
        return replace(self._rest[index], **self._unpacked(index))

    def _unpacked(self, index: Tensor | slice) -> Mapping[str, Tensor]:
        scales = {"image": lambda stored: stored.float() / 255, "depth_label_m": lambda stored: stored * _DEPTH_STEP_M}
        return {name: scales[name](values[index]) for name, values in self._pixels.items()}


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


def _joined(name: str, parts: list[Tensor], samples: int) -> Tensor:
    """All parts in one tensor; ``parts`` is emptied."""
    if len(parts) < samples:
        raise ValueError(f"cannot join batches: {name} is present in some and absent in others")
    size = (sum(map(len, parts)), *parts[0].shape[1:])
    whole = torch.empty(size, dtype=parts[0].dtype, memory_format=_layout(parts[0]))  # the layout that cat would give
    parts.reverse()
    start = 0
    while parts:
        part = parts.pop()
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def _layout(part: Tensor) -> torch.memory_format:
    channels_last = part.ndim == 4 and part.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last and not part.is_contiguous() else torch.contiguous_format
