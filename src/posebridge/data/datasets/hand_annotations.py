"""Checks that the readers of colour hands share, and the split of the adaptation benchmarks."""

import random
from typing import Literal

import numpy as np

from posebridge.data.datasets.options import Split
from posebridge.errors import InputError

JOINTS = 21
AnySplit = Split | Literal["all"]

_SPLIT_SEED, _TEST_SHARE, _MOST_TEST = 42, 0.2, 3200


def checked_camera(K: np.ndarray, where: str) -> np.ndarray:
    """K (3, 3). Raises ``InputError`` unless it is finite, with focal lengths above zero and (0, 0, 1) below."""
    possible = np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0 and np.abs(K[2] - [0, 0, 1]).max() < 1e-6
    if not possible:
        raise InputError(
            f"{where}: the intrinsics {K.tolist()} are impossible: expected finite pixels, focal lengths above zero"
        )
    return K


def adaptation_split(count: int, split: AnySplit) -> list[int]:
    """Positions of the split by which RegDA (Jiang et al., CVPR 2021) and its successors cut FreiHAND and H3D.

    Samples in the order of the file are shuffled with seed 42 of Python's generator; the first 20 %, 3200 at most, are
    the test set. Positions come back in ascending order.
    """
    order = list(range(count))
    random.Random(_SPLIT_SEED).shuffle(order)
    test = min(int(count * _TEST_SHARE), _MOST_TEST)
    return sorted({"train": order[test:], "test": order[:test], "all": order}[split])
