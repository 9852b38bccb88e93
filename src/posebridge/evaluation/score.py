"""The ``score`` command: metrics of any two keypoint files."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError
from posebridge.evaluation.comparison import FramesOfReference, SpaceComparison, compare_spaces
from posebridge.evaluation.distances import Distances, image_distances, space_distances, space_points, success_rates
from posebridge.evaluation.matching import MatchedSets, match_keypoints
from posebridge.evaluation.protocols import ScoreOptions
from posebridge.metrics.joints import auc, masked_mean, masked_median, pck


@dataclass(frozen=True)
class Auc:
    """Area under the PCK curve, in [0, 1], with its range."""

    value: float
    from_mm: float
    to_mm: float


@dataclass(frozen=True)
class Scores:
    """Result of ``score_files``. Values in mm are None without joints in space, values in px without image joints.

    Fractions are in [0, 1]. Thresholds are strings: "20" is 20 mm, "0.05" a fraction of the image's side.
    """

    frames: int  # in both files
    frames_without_prediction: int
    frames_without_truth: int
    unmatched_joints: tuple[str, ...]  # in one of the files only
    joints_without_prediction: int  # wrong at every threshold, excluded from mean and median
    align: str
    frames_of_reference: FramesOfReference | None  # of the joints in space
    notes: tuple[str, ...]  # what a reader must know beside the numbers
    predicted_in: Literal["image", "space"]  # image: joints in space are relative to the subject, or absent
    mean_joint_error_mm: float | None
    median_joint_error_mm: float | None
    pa_mean_joint_error_mm: float | None
    auc: Auc | None
    mean_error_px: float | None
    pck: dict[str, float]
    success_rate_max: dict[str, float] | None
    per_joint: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON: None is omitted, a metric without valid joints is null."""
        return {name: _plain(value) for name, value in asdict(self).items() if value is not None}


def score_files(predictions: Path, truth: Path, options: ScoreOptions) -> Scores:
    """Scores of two npz files.

    Raises ``InputError`` if they are invalid, share no frame, joint or kind of joints, or are in different units.
    """
    matched = match_keypoints(KeypointSet.load(predictions), KeypointSet.load(truth))
    compared, space, procrustes = _space(matched, options, truth)
    image = image_distances(matched, options.image_size, options.skip_border)
    main = space or image
    if main is None:
        raise InputError(f"{predictions} and {truth} have no kind of joints in common: both need uv_px, xyz_mm or uvd")
    return Scores(
        frames=len(matched.truth),
        frames_without_prediction=matched.without_prediction,
        frames_without_truth=matched.without_truth,
        unmatched_joints=matched.unmatched_joints,
        joints_without_prediction=int((main.counted & ~main.measured).sum()),
        align=compared.alignment if compared else "none",
        frames_of_reference=compared and compared.frames,
        notes=compared.notes if compared else (),
        predicted_in="image" if image and (compared is None or compared.relative) else "space",
        mean_joint_error_mm=space and masked_mean(space.errors, space.measured).item(),
        median_joint_error_mm=space and masked_median(space.errors, space.measured).item(),
        pa_mean_joint_error_mm=procrustes and masked_mean(procrustes.errors, procrustes.measured).item(),
        auc=space and Auc(auc(space.errors, space.counted, options.auc_mm).item(), *options.auc_mm),
        mean_error_px=image and masked_mean(image.errors, image.measured).item(),
        pck={label: value.item() for label, value in _pck(space, image, options).items()},
        success_rate_max=space and success_rates(space, options.success_mm),
        per_joint=_per_joint(matched, space, image, options),
    )


def _space(
    matched: MatchedSets, options: ScoreOptions, truth: Path
) -> tuple[SpaceComparison | None, Distances | None, Distances | None]:
    """How the joints in space are compared, and their distances as aligned and after a similarity; None without any."""
    points = space_points(matched, options.intrinsics)
    if points is None:
        return None, None, None
    compared = compare_spaces(points, matched, options, f"{truth}: joints in space")
    aligned, procrustes = (
        space_distances(points, alignment, matched, compared.root, options.reference_bone)
        for alignment in (compared.alignment, "similarity")
    )
    return compared, aligned, procrustes


def _pck(space: Distances | None, image: Distances | None, options: ScoreOptions, dim: int | None = None) -> dict:
    """PCK at every applicable threshold, by label."""
    shares = {}
    if space is not None:
        for mm in options.pck_mm:
            shares[f"{mm:g}"] = pck(space.errors, space.counted, mm, dim)
    if image is not None and options.image_size is not None:
        for fraction in options.pck_fraction:
            shares[f"{fraction:g}"] = pck(image.errors, image.counted, fraction * options.image_size, dim)
    return shares


def _per_joint(
    matched: MatchedSets, space: Distances | None, image: Distances | None, options: ScoreOptions
) -> dict[str, dict[str, Any]]:
    """Mean errors and PCK of each joint."""
    numbers: dict[str, dict[str, Any]] = {name: {} for name in matched.joint_names}
    for label, distances in (("mean_joint_error_mm", space), ("mean_error_px", image)):
        if distances is not None:
            means = masked_mean(distances.errors, distances.measured, dim=0).tolist()
            for name, mean in zip(matched.joint_names, means, strict=True):
                numbers[name][label] = mean
    shares = {label: share.tolist() for label, share in _pck(space, image, options, dim=0).items()}
    for j, name in enumerate(matched.joint_names):
        numbers[name]["pck"] = {label: share[j] for label, share in shares.items()}
    return numbers


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
