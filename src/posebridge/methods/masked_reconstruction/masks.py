"""Foreground masks of the frames that the method trains on (masked reconstruction 2025, Sec. 3.1)."""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, Observation
from posebridge.data.mask_store import MaskStore
from posebridge.networks.segmentation import SegmentationNetwork

MaskOf = Callable[[Observation], Bool[Tensor, "B S S"]]


def label_masks(batch: Observation) -> Bool[Tensor, "B S S"]:
    """The labelled masks of source samples. Raises ``ValueError`` for samples without."""
    if not isinstance(batch, LabelledBatch) or batch.mask is None:
        raise ValueError(f"{batch.key[0]}: these samples have no masks")
    return batch.mask


class FrameMasks:
    """Masks of target frames by their keys: predicted once by the segmentation network, or given.

    Crops must be those of the frames, before augmentation.
    """

    def __init__(self, network: SegmentationNetwork | None, given: MaskStore | None = None):
        """``given``: masks of all frames, by files of the user's or, for measuring, by labels; or else a ``network``.

        Raises ``ValueError`` without both.
        """
        self.store, self._network = MaskStore() if given is None else given, None
        if given is None:
            if network is None:
                raise ValueError("masks are predicted by a network or given; there is neither")
            self._network = copy.deepcopy(network).eval().requires_grad_(False)

    def __call__(self, batch: Observation) -> Bool[Tensor, "B S S"]:
        """The masks of un-augmented crops. Raises ``ValueError`` for a frame whose mask isn't among the given ones."""
        if missing := self.store.missing(batch.key):
            if self._network is None:
                raise ValueError(f"{missing[0]}: there is no mask of this frame")
            # The whole batch is predicted, so that a mask doesn't depend on how many of its batch are known.
            self.store.add(batch.key, predict_masks(self._network, batch.rgb))
        return self.store.masks(batch.key, batch.rgb.device)


@torch.no_grad()
def predict_masks(network: SegmentationNetwork, images: Tensor) -> Bool[Tensor, "B S S"]:
    """Where the network's probability of the foreground is above one half; in full precision."""
    network.to(images.device)
    with torch.autocast(images.device.type, enabled=False):
        return network(images) > 0
