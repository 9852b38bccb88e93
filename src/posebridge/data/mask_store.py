"""Foreground masks of frames, kept in memory by the frame's key."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch


class MaskStore:
    """Masks of S x S pixels by key, a bit a pixel. ``empty`` and ``full`` count masks without any edge."""

    def __init__(self):
        self._rows: dict[str, np.ndarray] = {}
        self.size_px: int | None = None  # None while there is no mask
        self.empty = 0
        self.full = 0

    @classmethod
    def of_labels(cls, batches: Iterable[LabelledBatch]) -> "MaskStore":
        """The labelled masks of frames. Of target frames they are for measuring only: an upper bound.

        Raises ``ValueError`` for batches without masks.
        """
        store = cls()
        for batch in batches:
            if batch.mask is None:
                raise ValueError(f"{batch.key[0]}: these frames have no masks")
            store.add(batch.key, batch.mask)
        return store

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, keys: Sequence[str], masks: Bool[Tensor, "B S S"]) -> None:
        """Keep masks; those of keys that are there already are left out. Raises ``ValueError`` for another size."""
        self.size_px = self.size_px or masks.shape[-1]
        if masks.shape[1:] != (self.size_px, self.size_px):
            raise ValueError(f"masks of {tuple(masks.shape[1:])} px beside others of {self.size_px} px")
        for key, row in zip(keys, masks.flatten(1).cpu().numpy(), strict=True):
            if key not in self._rows:
                self._rows[key] = np.packbits(row)
                self.empty += not row.any()
                self.full += bool(row.all())

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys without a mask."""
        return [key for key in keys if key not in self._rows]

    def masks(self, keys: Sequence[str], device: torch.device | str = "cpu") -> Bool[Tensor, "B S S"]:
        """The masks of B frames. Raises ``KeyError`` for a key without one."""
        side = self.size_px or 0
        rows = np.stack([self._rows[key] for key in keys])
        bits = np.unpackbits(rows, axis=1, count=side * side).reshape(len(keys), side, side)
        return torch.from_numpy(bits.astype(bool)).to(device)
