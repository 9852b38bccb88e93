"""How joints in space of two files can be compared: their unit, their frames of reference, and the alignment."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from posebridge.contracts.reference_frames import ReferenceFrame, reference_frame
from posebridge.errors import InputError
from posebridge.evaluation.distances import JointPairs
from posebridge.evaluation.matching import MatchedSets
from posebridge.evaluation.protocols import Alignment, ScoreOptions
from posebridge.skeletons.plausible_lengths import check_plausible_lengths, measure

_SCALE_FREE = ("root-scale", "similarity")
_NOTED_RATIO = 3.0  # of the lengths of predictions and truth: a poor model reaches less, another unit more
_REFUSED_RATIO = 200.0  # a fifth of the step from metres to millimetres


@dataclass(frozen=True)
class FramesOfReference:
    """The frames of reference of two files, in words."""

    predictions: str
    truth: str


@dataclass(frozen=True)
class SpaceComparison:
    """How predictions are compared with the truth in space."""

    alignment: Alignment
    root: str  # joint of the alignments root and root-scale
    frames: FramesOfReference
    relative: bool  # predictions are relative to the subject, as of a single colour image
    notes: tuple[str, ...]  # what a reader must know beside the numbers


def compare_spaces(
    points: JointPairs, matched: MatchedSets, options: ScoreOptions, true_source: str
) -> SpaceComparison:
    """How to compare the joints. ``true_source`` names the file of the truth and its joints.

    Raises ``InputError`` for a truth or predictions in another unit, and for frames of reference that the chosen
    alignment does not bring together.
    """
    predicted_mm = _with_missing(points.predicted, points.in_prediction)
    true_mm = _with_missing(points.true, points.in_truth)
    check_plausible_lengths(true_mm, matched.joint_names, true_source)
    predicted, true = reference_frame(predicted_mm), reference_frame(true_mm)
    words = FramesOfReference(
        *(frame.describe(matched.joint_names) if frame else "unknown" for frame in (predicted, true))
    )
    alignment, root, notes = options.align or "none", options.root_joint, ()
    if predicted and true and predicted != true:
        alignment, root = _bring_together(predicted, true, matched, options)
        if options.align is None:
            notes = (f"aligned at {root}, as by --align root: frames of reference differ",)
    if alignment not in _SCALE_FREE:
        notes += _size_notes(predicted_mm, true_mm, matched)
    return SpaceComparison(alignment, root, words, predicted is not None and predicted.relative, notes)


def _bring_together(
    predicted: ReferenceFrame, true: ReferenceFrame, matched: MatchedSets, options: ScoreOptions
) -> tuple[Alignment, str]:
    """The alignment of two different frames, and its root. Raises ``InputError`` where ``options`` forbid it."""
    names = matched.joint_names
    state = f"predictions are {predicted.describe(names)}, the truth is {true.describe(names)}"
    if "other" in (predicted.kind, true.kind) and options.align != "similarity":
        raise InputError(
            f"{state}: convert them to one camera's frame (x right, y down, z forward), or give --align similarity"
        )
    if options.align == "none":
        raise InputError(f"{state}: give --align root or root-scale, or leave --align out")
    if options.align is not None:
        return options.align, options.root_joint
    joints = [frame.joint for frame in (predicted, true) if frame.joint is not None]
    root = names[joints[0]] if joints else options.root_joint
    if root not in names:
        raise InputError(f"{state}: give --root-joint, one of {', '.join(names)}")
    return "root", root


def _size_notes(predicted_mm: np.ndarray, true_mm: np.ndarray, matched: MatchedSets) -> tuple[str, ...]:
    """What the lengths of the predictions say about their unit.

    Raises ``InputError`` for a ratio that only another unit explains.
    """
    both = np.isfinite(predicted_mm).all(-1, keepdims=True) & np.isfinite(true_mm).all(-1, keepdims=True)
    predicted, true = (measure(np.where(both, xyz, np.nan), matched.joint_names) for xyz in (predicted_mm, true_mm))
    if predicted is None or true is None or 1 / _NOTED_RATIO < predicted.mm / true.mm < _NOTED_RATIO:
        return ()
    state = f"predictions measure {predicted}, the truth {true.mm:.3g} mm"
    if not 1 / _REFUSED_RATIO < predicted.mm / true.mm < _REFUSED_RATIO:
        raise InputError(f"{state}: convert xyz_mm to millimetres, or give --align root-scale if it has no unit")
    return (f"{state}: check that xyz_mm is in millimetres",)


def _with_missing(points: Tensor, present: Tensor) -> np.ndarray:
    """Joints with NaN in place of missing ones."""
    return np.where(present.numpy()[..., None], points.numpy(), np.nan)
