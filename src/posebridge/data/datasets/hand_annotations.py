"""Checks that the readers of colour hands share, and the split of the adaptation benchmarks."""

import random
from collections.abc import Sequence
from typing import Literal

import numpy as np

from posebridge.data.datasets.options import Split
from posebridge.errors import InputError

JOINTS = 21
AnySplit = Split | Literal["all"]

_HAND_M = (0.002, 1.0)  # no hand's joints lie closer together or farther apart than this
_SPLIT_SEED, _TEST_SHARE, _MOST_TEST = 42, 0.2, 3200


def hand_lengths_m(joints_m: np.ndarray) -> np.ndarray:
    """Diagonals (N,) of the boxes around joints (N, J, 3), those that aren't finite left out; NaN without any."""
    finite = np.isfinite(joints_m).all(axis=-1, keepdims=True)
    sides = np.where(finite, joints_m, -np.inf).max(axis=1) - np.where(finite, joints_m, np.inf).min(axis=1)
    lengths = np.linalg.norm(sides, axis=-1)
    return np.where(np.isfinite(lengths), lengths, np.nan)


def check_hand_scale(joints_m: np.ndarray, samples: Sequence[str], where: str, unit: str) -> dict[int, str]:
    """Positions of the hands (N, J, 3) that have an impossible size, each with its reason.

    Joints are in metres, made so on the assumption that ``where`` (a file) has them in ``unit``, and NaN where they
    are not labelled. Raises ``InputError`` where more than half of the hands are impossible: the unit is another one.
    """
    lengths = hand_lengths_m(joints_m)
    complete = np.all(np.isfinite(joints_m), axis=(1, 2))
    # Two finger tips alone may touch, so only a whole hand can be too small.
    impossible = np.flatnonzero((lengths > _HAND_M[1]) | (complete & (lengths < _HAND_M[0]))).tolist()
    reasons = {i: f"the hand of {samples[i]} is {lengths[i]:.3g} m long: expected {unit}" for i in impossible}
    if 2 * len(reasons) > len(lengths):
        raise InputError(f"{where}: {next(iter(reasons.values()))}")
    return reasons


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
