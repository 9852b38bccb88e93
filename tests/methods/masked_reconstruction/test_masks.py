"""Masks of the target: predicted once by key, or given."""

import pytest
import torch
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.mask_store import MaskStore
from posebridge.methods.masked_reconstruction.masks import FrameMasks, label_masks
from posebridge.networks.segmentation import SegmentationConfig, SegmentationNetwork

SIDE = 32


class Bright(SegmentationNetwork):
    """The foreground is what is brighter than one half; counts the images that it was given."""

    def __init__(self):
        super().__init__(SegmentationConfig(width=2, most_channels=4))
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        self.seen.append(len(images))
        return images.mean(1) - 0.5

    def __deepcopy__(self, _) -> "Bright":
        return self


def _batch(*keys: str) -> UnlabelledBatch:
    generator = torch.Generator().manual_seed(0)
    images = {key: torch.rand(3, SIDE, SIDE, generator=generator) for key in "abcdef"}
    return UnlabelledBatch(image=torch.stack([images[key] for key in keys]), key=keys)


def test_each_frame_is_predicted_once():
    network = Bright()
    masks = FrameMasks(network.train())
    first = masks(_batch("a", "b", "c"))
    assert torch.equal(first, _batch("a", "b", "c").rgb.mean(1) > 0.5)
    assert torch.equal(masks(_batch("c", "a", "a")), first[[2, 0, 0]])
    assert network.seen == [3]
    masks(_batch("c", "d"))
    assert network.seen == [3, 2]  # whole batches, so that rounding doesn't depend on what is known
    assert len(masks.store) == 4


def test_kept_masks_don_t_follow_the_network():
    network = SegmentationNetwork(SegmentationConfig(width=2, most_channels=4))
    nn.init.constant_(network.output.bias, -100.0)
    masks = FrameMasks(network)
    assert not masks(_batch("a", "b")).any()
    nn.init.constant_(network.output.bias, 100.0)
    assert not masks(_batch("a", "b")).any()
    assert not masks(_batch("c")).any()  # frames that come later neither


def test_given_masks_take_the_network_s_place():
    given, store = torch.rand(2, SIDE, SIDE) > 0.5, MaskStore()
    store.add(("a", "b"), given)
    masks = FrameMasks(None, store)
    assert torch.equal(masks(_batch("b", "a")), given[[1, 0]])
    with pytest.raises(ValueError, match="c: there is no mask"):
        masks(_batch("a", "c"))


def test_masks_come_from_somewhere():
    with pytest.raises(ValueError, match="there is neither"):
        FrameMasks(None)


def test_masks_of_the_source_are_its_labels():
    mask = torch.rand(1, SIDE, SIDE) > 0.5
    batch = _batch("a")
    labelled = LabelledBatch(image=batch.image, key=batch.key, mask=mask)
    assert torch.equal(label_masks(labelled), mask)
    for bare in (batch, LabelledBatch(image=batch.image, key=batch.key)):
        with pytest.raises(ValueError, match="a: these samples have no masks"):
            label_masks(bare)
