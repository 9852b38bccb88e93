"""A tensor that grows row by row and needs little more memory than its content."""

import torch
from torch import Tensor

# Allocators return blocks of this size to the system at once. Small ones leave gaps that large tensors can't fill.
_CHUNK_BYTES = 64 << 20


class GrowingTensor:
    """Collects tensors along their first dimension in chunks of 64 MB, and joins them at the end.

    Values are copied, so the tensors can be freed at once. Data type and layout are those of the first tensor.
    """

    def __init__(self, like: Tensor):
        """``like`` (n, ...): data type, layout and shape of each row."""
        self._shape, self._dtype = like.shape[1:], like.dtype
        self._rows = max(1, _CHUNK_BYTES // max(1, self._shape.numel() * like.element_size()))
        self._layout = _layout(like)
        self._chunks: list[Tensor] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, values: Tensor) -> None:
        """Copy the rows of ``values`` (n, ...) to the end."""
        start = 0
        while start < len(values):
            first = self._length % self._rows
            if first == 0:
                self._chunks.append(self._empty(self._rows))
            part = values[start : start + self._rows - first]
            self._chunks[-1][first : first + len(part)] = part
            start += len(part)
            self._length += len(part)

    def join(self) -> Tensor:
        """All rows in one tensor. Each chunk is freed once it is copied; the growing tensor is empty afterwards."""
        joined = self._empty(self._length)
        self._chunks.reverse()
        for start in range(0, self._length, self._rows):
            part = joined[start : start + self._rows]
            part.copy_(self._chunks.pop()[: len(part)])
        self._length = 0
        return joined

    def _empty(self, rows: int) -> Tensor:
        """Memory of these rows; the system provides each page at its first use."""
        return torch.empty((rows, *self._shape), dtype=self._dtype, memory_format=self._layout)


def _layout(values: Tensor) -> torch.memory_format:
    """The layout that ``torch.cat`` would give."""
    channels_last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last and not values.is_contiguous() else torch.contiguous_format
