"""Frames that the dot finder reads without error."""

import numpy as np
import torch

from deployment.rigged import draw_dots, truth_of
from posebridge.contracts.batch import LabelledBatch


def dot_frames() -> LabelledBatch:
    """70 frames with their labels; every third frame's label is wrong."""
    places = np.array([[20, 18], [44, 20], [30, 44]]) + np.random.default_rng(2).uniform(-4, 4, (70, 3, 2))
    images = np.stack([draw_dots(64, 64, place) for place in places])
    uv = torch.tensor(np.stack([truth_of(place) for place in places]), dtype=torch.float32)
    uv[::3] += 20
    return LabelledBatch(
        image=torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255,
        key=tuple(map(str, range(70))),
        uv_px=uv,
        valid=torch.ones(70, 21, dtype=torch.bool),
    )
