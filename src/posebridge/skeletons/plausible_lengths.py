"""The size of hands and people from their joints, which determines the unit of the coordinates.

``check_plausible_lengths`` compares joints with a known unit, by bones; ``check_unit`` does so by the box around them,
for joints in any order; ``joint_unit`` finds the unit where files differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from posebridge.errors import InputError
from posebridge.skeletons.named import SKELETONS
from posebridge.skeletons.skeleton import Skeleton

Subject = Literal["hand", "person"]

_UNIT_MM = {
    "metres": 1000.0,
    "centimetres": 10.0,
    "inches": 25.4,
    "millimetres": 1.0,
    "tenths of a millimetre": 0.1,
    "micrometres": 0.001,
}
METRES_PER_UNIT = {unit: _UNIT_MM[unit] / 1000 for unit in ("millimetres", "centimetres", "metres")}
# Slack for noise and for joints that datasets annotate in different places. Numbers of an adult in centimetres are a
# third to a half of a newborn's in millimetres, so that half is left below.
_SLACK_BELOW, _SLACK_ABOVE = 2.0, 3.0
_MIN_JOINTS = 3  # of a frame without a complete chain


@dataclass(frozen=True)
class _Lengths:
    """A length, its value for an adult, and its bounds, in mm."""

    label: str
    lowest_mm: float
    typical_mm: float
    highest_mm: float

    @classmethod
    def with_slack(cls, label: str, newborn_mm: float, adult_mm: float, giant_mm: float) -> "_Lengths":
        return cls(label, newborn_mm / _SLACK_BELOW, adult_mm, giant_mm * _SLACK_ABOVE)

    def plausible(self, mm: np.ndarray | float) -> np.ndarray:
        """Whether lengths may be a subject's. False for NaN."""
        return (np.asarray(mm) >= self.lowest_mm) & (np.asarray(mm) <= self.highest_mm)


# A newborn is 500 mm tall with hands of 60 mm. The tallest man was 2720 mm tall, with hands of 320 mm and a span of
# 2880 mm (Guinness World Records). Chains of bones have the same length in every pose.
_CHAINS = {
    "hand21": _Lengths.with_slack("from the wrist to a finger tip", 60, 180, 320),
    "nyu14": _Lengths.with_slack("from the palm to a finger tip", 40, 120, 220),
    "icvl16": _Lengths.with_slack("from the palm to a finger tip", 35, 105, 190),
}
_BODY_CHAIN = _Lengths.with_slack("along the longest limb", 300, 1200, 2500)
_SPREAD = _Lengths.with_slack("across all joints", 20, 300, 3400)  # finger tips of a newborn's fist; a giant's span
# All joints of one subject in any pose: from a small fist or a crouching child to a spread hand or a stretched adult.
# Centimetres that are read as millimetres lie below.
_SPREADS = {
    "hand": _Lengths("across a hand's joints", 20, 180, 500),
    "person": _Lengths("across a person's joints", 400, 1500, 3000),
}
# The median bone of a toddler to a tall adult. The bounds differ by less than a factor of 10, so that no two units of
# ``METRES_PER_UNIT`` fit the same joints.
_HAND_BONE = _Lengths("of the median bone", 12, 30, 100)
_BODY_BONE = _Lengths("of the median bone", 80, 250, 700)


@dataclass(frozen=True)
class Extent:
    """The median length of the subjects in a set of joints."""

    mm: float
    lengths: _Lengths

    def __str__(self) -> str:
        return f"{self.mm:.3g} mm {self.lengths.label}"


def measure(xyz_mm: np.ndarray, joint_names: Sequence[str] | None) -> Extent | None:
    """The length of the longest complete chain of bones; where joints form none, the diagonal of the box around them.

    Args:
        xyz_mm: joints (N, J, 3); missing joints are not finite.
        joint_names: their names, or None. Names of no skeleton are ignored.

    Returns:
        The median over frames. Frames whose joints coincide do not count. None where no frame has enough joints.
    """
    xyz_mm = np.where(np.isfinite(xyz_mm).all(-1, keepdims=True), xyz_mm, np.nan).astype(np.float64)
    skeleton = None if joint_names is None else _skeleton_of(joint_names)
    if skeleton is not None and joint_names is not None:
        length = _median(_chain_mm(xyz_mm, skeleton, skeleton.order_of(tuple(joint_names))))
        if length is not None:
            return Extent(length, _CHAINS.get(skeleton.name, _BODY_CHAIN))
    spread = _median(spread_mm(xyz_mm))
    return None if spread is None else Extent(spread, _SPREAD)


def check_plausible_lengths(
    xyz: np.ndarray, joint_names: Sequence[str] | None, source: str, unit: str = "millimetres"
) -> None:
    """Check that joints (N, J, 3) in ``unit`` (millimetres or metres) have the size of hands or people.

    ``joint_names`` as in ``measure``; joints that are not finite are ignored. ``source`` names the file and its joints.
    Raises ``InputError`` with the likely unit.
    """
    extent = measure(xyz * _UNIT_MM[unit], joint_names)
    if extent is not None:
        _check_extent(extent, source, unit)


def check_unit(joints_m: np.ndarray, subject: Subject, source: str, unit: str) -> None:
    """Check that more than half of the subjects have a possible size, as ``impossible_spreads`` measures it.

    ``joints_m`` (N, J, 3) are converted from ``unit`` (millimetres or metres). ``source`` names the file and its
    joints. Raises ``InputError`` with the likely unit.
    """
    impossible = impossible_spreads(joints_m, subject)
    spreads = spread_mm(1000 * joints_m)
    if 2 * impossible.sum() > np.isfinite(spreads).sum():
        _check_extent(Extent(float(np.median(spreads[impossible])), _SPREADS[subject]), source, unit)


def size_problems(joints_m: np.ndarray, subject: Subject) -> dict[int, str]:
    """The subjects of an impossible size among joints (N, J, 3), each with the reason to leave it out."""
    spreads = spread_mm(1000 * joints_m)
    bounds = _SPREADS[subject]
    limits = f"expected {bounds.lowest_mm:g} to {bounds.highest_mm:g} mm"
    rows = np.flatnonzero(impossible_spreads(joints_m, subject)).tolist()
    return {row: f"it measures {Extent(float(spreads[row]), bounds)}, {limits}" for row in rows}


def impossible_spreads(joints_m: np.ndarray, subject: Subject) -> np.ndarray:
    """Whether the box around the joints of each subject (N,) is too small or too large for one.

    Joints (N, J, 3) that are missing are not finite. Finger tips may touch, so only a complete subject is too small.
    """
    spreads, bounds = spread_mm(1000 * joints_m), _SPREADS[subject]
    complete = np.isfinite(joints_m).all((1, 2))
    return (spreads > bounds.highest_mm) | (complete & (spreads < bounds.lowest_mm))


def joint_unit(joints: np.ndarray, valid: np.ndarray, skeleton: Skeleton) -> str | None:
    """The unit, a key of ``METRES_PER_UNIT``, in which at least half of the subjects have a possible size, or None.

    Args:
        joints: (N, J, 3) of N hands or bodies in one unknown unit.
        valid: (N, J) bool. Without subjects that can be measured, the unit is millimetres.
        skeleton: of a hand or a body.
    """
    faults = {unit: impossible_bones(joints * scale, valid, skeleton).sum() for unit, scale in METRES_PER_UNIT.items()}
    best = min(faults, key=lambda unit: faults[unit])
    measured = np.isfinite(_median_bone(joints, valid, skeleton)).sum()
    return best if 2 * faults[best] <= measured else None


def impossible_bones(joints_m: np.ndarray, valid: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Whether each hand or body (N,) is too small or too large to be one; False where it can't be measured.

    ``joints_m`` is (N, J, 3) in metres, ``valid`` (N, J) bool.
    """
    median_mm = 1000 * _median_bone(joints_m, valid, skeleton)
    bounds = _BODY_BONE if skeleton.mirror_of else _HAND_BONE
    return ~np.isnan(median_mm) & ~bounds.plausible(median_mm)


def spread_mm(xyz_mm: np.ndarray) -> np.ndarray:
    """The diagonal (N,) of the box around joints (N, J, 3), NaN with fewer than three finite joints."""
    present = np.isfinite(xyz_mm).all(-1, keepdims=True)
    low = np.where(present, xyz_mm, np.inf).min(1)
    high = np.where(present, xyz_mm, -np.inf).max(1)
    enough = present.sum(1)[:, 0] >= _MIN_JOINTS
    return np.where(enough, np.linalg.norm(np.where(enough[:, None], high - low, 0), axis=-1), np.nan)


def _check_extent(extent: Extent, source: str, unit: str) -> None:
    if not extent.lengths.plausible(extent.mm):
        advice = _advice(extent, _UNIT_MM[unit])
        raise InputError(f"{source} measure {extent}, expected {unit} of a hand or a person; {advice}")


def _advice(extent: Extent, unit_mm: float) -> str:
    """The unit in which the subject comes closest to an adult's size, and what to multiply by."""
    mm_by_unit = {unit: extent.mm / unit_mm * step_mm for unit, step_mm in _UNIT_MM.items()}
    fitting = {
        unit: abs(np.log(mm / extent.lengths.typical_mm))
        for unit, mm in mm_by_unit.items()
        if extent.lengths.plausible(mm)
    }
    if not fitting:
        return "no common unit gives such a size: check the coordinates"
    unit = min(fitting, key=lambda name: fitting[name])
    return f"they look like {unit}: multiply them by {_UNIT_MM[unit] / unit_mm:g}"


def _skeleton_of(names: Sequence[str]) -> Skeleton | None:
    """The skeleton with the most joints among the names, at least three; None for names of none."""
    known = {skeleton.name: _known(skeleton, names) for skeleton in SKELETONS.values()}
    best = max(known, key=lambda name: known[name])
    return SKELETONS[best] if known[best] >= _MIN_JOINTS else None


def _known(skeleton: Skeleton, names: Sequence[str]) -> int:
    try:
        return int((skeleton.order_of(tuple(names)) >= 0).sum())
    except InputError:  # no name is known, or two mean the same joint
        return 0


def _chain_mm(xyz_mm: np.ndarray, skeleton: Skeleton, order: np.ndarray) -> np.ndarray:
    """The longest complete path (N,) of bones from the root to a joint without children; NaN where none is."""
    joints = np.where((order >= 0)[:, None], xyz_mm[:, order], np.nan)
    ends = [j for j in range(len(skeleton)) if j not in skeleton.parents]
    paths = [np.linalg.norm(np.diff(joints[:, _path(skeleton, end)], axis=1), axis=-1).sum(1) for end in ends]
    longest = np.where(np.isfinite(paths), paths, -np.inf).max(0)
    return np.where(np.isfinite(longest), longest, np.nan)


def _median_bone(joints: np.ndarray, valid: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Median bone length (N,) of joints (N, J, 3); NaN where fewer than half of the bones have two valid ends."""
    parents, children = np.array(skeleton.bones).T
    known = valid[:, children] & valid[:, parents]
    lengths = np.linalg.norm(joints[:, children] - joints[:, parents], axis=-1)
    medians = np.full(len(joints), np.nan)
    measured = 2 * known.sum(axis=1) >= len(skeleton.bones)
    medians[measured] = np.nanmedian(np.where(known, lengths, np.nan)[measured], axis=1)
    return medians


def _path(skeleton: Skeleton, joint: int) -> list[int]:
    """The joints from one up to the root."""
    parent = skeleton.parents[joint]
    return [joint] if parent < 0 else [joint, *_path(skeleton, parent)]


def _median(lengths_mm: np.ndarray) -> float | None:
    """The median over lengths that are finite and not zero; None without any."""
    measured = lengths_mm[np.isfinite(lengths_mm) & (lengths_mm > 0)]
    return float(np.median(measured)) if len(measured) else None
