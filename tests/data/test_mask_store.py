"""Masks in memory, by key."""

import pytest
import torch

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.mask_store import MaskStore


def _masks(count: int, side: int = 9) -> torch.Tensor:
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(0)) > 0.5


def test_masks_come_back_by_key():
    store, masks = MaskStore(), _masks(4)  # 81 pixels, no multiple of a byte
    store.add(("a", "b"), masks[:2])
    store.add(("c", "d"), masks[2:])
    assert len(store) == 4
    assert torch.equal(store.masks(("d", "a", "a")), masks[[3, 0, 0]])
    assert store.missing(("a", "x", "d", "y")) == ["x", "y"]


def test_the_first_mask_of_a_key_is_kept():
    store, masks = MaskStore(), _masks(2)
    store.add(("a",), masks[:1])
    store.add(("a",), masks[1:])
    assert torch.equal(store.masks(("a",)), masks[:1])


def test_masks_without_an_edge_are_counted_once():
    store, masks = MaskStore(), _masks(4)
    masks[1], masks[2] = True, False
    for _ in range(2):
        store.add(("a", "b", "c", "d"), masks)
    assert (store.empty, store.full) == (1, 1)


def test_one_size_only():
    store = MaskStore()
    store.add(("a",), _masks(1))
    with pytest.raises(ValueError, match="beside others of 9 px"):
        store.add(("b",), _masks(1, 8))


def test_labelled_masks():
    masks = _masks(3)
    batch = LabelledBatch(image=torch.rand(3, 3, 9, 9), key=("a", "b", "c"), mask=masks)
    assert torch.equal(MaskStore.of_labels([batch[:1], batch[1:]]).masks(("b", "c")), masks[1:])
    with pytest.raises(ValueError, match="a: these frames have no masks"):
        MaskStore.of_labels([LabelledBatch(image=batch.image, key=batch.key)])
