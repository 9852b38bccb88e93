"""The size of hands and people from their joints, which tells the unit of the coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posebridge.errors import InputError
from posebridge.skeletons.named import SKELETONS
from posebridge.skeletons.skeleton import Skeleton

_UNIT_MM = {
    "metres": 1000.0,
    "centimetres": 10.0,
    "inches": 25.4,
    "millimetres": 1.0,
    "tenths of a millimetre": 0.1,
    "micrometres": 0.001,
}
# Slack for noise and for joints that datasets annotate in different places. Numbers of an adult in centimetres are a
# third to a half of a newborn's in millimetres, so that half is left below.
_SLACK_BELOW, _SLACK_ABOVE = 2.0, 3.0
_MIN_JOINTS = 3  # of a frame without a complete chain


@dataclass(frozen=True)
class _Lengths:
    """A length and its values in mm, of a newborn, an adult, and a giant."""

    label: str
    smallest_mm: float
    typical_mm: float
    largest_mm: float

    def plausible(self, mm: float) -> bool:
        """Whether a length may be a subject's, with slack."""
        return self.smallest_mm / _SLACK_BELOW <= mm <= self.largest_mm * _SLACK_ABOVE


# A newborn is 500 mm tall with hands of 60 mm. The tallest man was 2720 mm tall, with hands of 320 mm and a span of
# 2880 mm (Guinness World Records). Chains of bones have the same length in every pose.
_CHAINS = {
    "hand21": _Lengths("from the wrist to a finger tip", 60, 180, 320),
    "nyu14": _Lengths("from the palm to a finger tip", 40, 120, 220),
    "icvl16": _Lengths("from the palm to a finger tip", 35, 105, 190),
}
_BODY_CHAIN = _Lengths("along the longest limb", 300, 1200, 2500)
_SPREAD = _Lengths("across all joints", 20, 300, 3400)  # five finger tips of a newborn's fist; a giant's span


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
    unit_mm = {"millimetres": 1.0, "metres": 1000.0}[unit]
    extent = measure(xyz * unit_mm, joint_names)
    if extent is None:
        return
    if not extent.lengths.plausible(extent.mm):
        advice = _advice(extent, unit_mm)
        raise InputError(f"{source} measure {extent}, expected {unit} of a hand or a person; {advice}")


def spread_mm(xyz_mm: np.ndarray) -> np.ndarray:
    """The diagonal (N,) of the box around joints (N, J, 3), NaN with fewer than three finite joints."""
    present = np.isfinite(xyz_mm).all(-1, keepdims=True)
    low = np.where(present, xyz_mm, np.inf).min(1)
    high = np.where(present, xyz_mm, -np.inf).max(1)
    enough = present.sum(1)[:, 0] >= _MIN_JOINTS
    return np.where(enough, np.linalg.norm(np.where(enough[:, None], high - low, 0), axis=-1), np.nan)


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


def _path(skeleton: Skeleton, joint: int) -> list[int]:
    """The joints from one up to the root."""
    parent = skeleton.parents[joint]
    return [joint] if parent < 0 else [joint, *_path(skeleton, parent)]


def _median(lengths_mm: np.ndarray) -> float | None:
    """The median over lengths that are finite and not zero; None without any."""
    measured = lengths_mm[np.isfinite(lengths_mm) & (lengths_mm > 0)]
    return float(np.median(measured)) if len(measured) else None
