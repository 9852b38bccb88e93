"""Units of joints in space, found from the lengths of bones."""

import numpy as np

from posebridge.skeletons.skeleton import Skeleton

METRES_PER_UNIT = {"millimetres": 1e-3, "centimetres": 1e-2, "metres": 1.0}
# Bounds of the median bone, from a toddler to a tall adult. Each spans less than a factor of 10, so that no two units
# fit the same joints.
_HAND_BONE_M = (0.012, 0.1)
_BODY_BONE_M = (0.08, 0.7)


def joint_unit(joints: np.ndarray, valid: np.ndarray, skeleton: Skeleton) -> str | None:
    """The unit, a key of ``METRES_PER_UNIT``, in which at least half of the subjects have a possible size, or None.

    Args:
        joints: (N, J, 3) of N hands or bodies in one unknown unit.
        valid: (N, J) bool. Without subjects that can be measured, the unit is millimetres.
        skeleton: of a hand or a body.
    """
    faults = {name: impossible(joints * scale, valid, skeleton).sum() for name, scale in METRES_PER_UNIT.items()}
    best = min(faults, key=lambda name: faults[name])
    measured = np.isfinite(median_bone(joints, valid, skeleton)).sum()
    return best if 2 * faults[best] <= measured else None


def impossible(joints_m: np.ndarray, valid: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Whether each hand or body (N,) is too small or too large to be one; False where it can't be measured.

    ``joints_m`` is (N, J, 3) in metres, ``valid`` (N, J) bool.
    """
    low, high = _BODY_BONE_M if skeleton.mirror_of else _HAND_BONE_M
    median_m = median_bone(joints_m, valid, skeleton)
    return (median_m < low) | (median_m > high)


def median_bone(joints: np.ndarray, valid: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Median bone length (N,) of joints (N, J, 3); NaN where fewer than half of the bones have two valid ends."""
    parents, children = np.array(skeleton.bones).T
    known = valid[:, children] & valid[:, parents]
    lengths = np.linalg.norm(joints[:, children] - joints[:, parents], axis=-1)
    medians = np.full(len(joints), np.nan)
    measured = 2 * known.sum(axis=1) >= len(skeleton.bones)
    medians[measured] = np.nanmedian(np.where(known, lengths, np.nan)[measured], axis=1)
    return medians
