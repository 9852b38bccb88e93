"""Intersection over union of masks."""

import torch

from posebridge.metrics.masks import mask_iou


def test_known_overlaps():
    predicted, true = torch.zeros(2, 4, 6, 6, dtype=torch.bool)
    predicted[:2, 0:4, 0:4] = True
    true[0, 2:6, 0:4] = True  # 8 of 24 pixels are shared
    true[1, 0:4, 0:4] = True
    true[2, 0, 0] = True  # missed
    assert mask_iou(predicted, true).tolist() == [torch.tensor(8 / 24).item(), 1.0, 0.0, 1.0]  # both empty: 1
