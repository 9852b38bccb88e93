"""Distances between matched joints, in pixels and in millimetres."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.intrinsics import check_intrinsics
from posebridge.errors import InputError
from posebridge.evaluation.matching import MatchedSets
from posebridge.evaluation.protocols import Alignment
from posebridge.geometry.alignment import align_similarity
from posebridge.metrics.joints import joint_errors, success_rate

Intrinsics = tuple[float, float, float, float]


@dataclass(frozen=True)
class Distances:
    """Error of every joint; infinite if the truth has a joint that the prediction lacks."""

    errors: Float[Tensor, "N J"]
    counted: Bool[Tensor, "N J"]  # joints with a truth that the protocol counts

    @property
    def measured(self) -> Bool[Tensor, "N J"]:
        """Counted joints that are predicted, over which mean errors are taken."""
        return self.counted & torch.isfinite(self.errors)

    def failing(self, frames: Bool[Tensor, "N"]) -> "Distances":
        """The same with some frames wrong at every threshold."""
        return Distances(self.errors.masked_fill(frames[:, None], torch.inf), self.counted)


@dataclass(frozen=True)
class JointPairs:
    """Predicted and true joints; absent joints are zero."""

    predicted: Float[Tensor, "N J D"]
    true: Float[Tensor, "N J D"]
    in_prediction: Bool[Tensor, "N J"]
    in_truth: Bool[Tensor, "N J"]

    def distances(self, aligned: Float[Tensor, "N J D"] | None = None) -> Distances:
        """Distances of the predicted joints, or of ``aligned`` in their place, from the true ones."""
        errors = joint_errors(self.predicted if aligned is None else aligned, self.true)
        return Distances(torch.where(self.in_prediction, errors, torch.inf), self.in_truth)


def image_distances(
    matched: MatchedSets, image_side_px: float | None = None, skip_border_px: float | None = None
) -> Distances | None:
    """Distances in pixels, or None if a set has no ``uv_px``.

    With ``skip_border_px``, joints are not counted if their truth lies outside the square image of side
    ``image_side_px`` or within ``skip_border_px`` of its border. Raises ``ValueError`` if the side is missing then.
    """
    prediction, truth = matched.prediction, matched.truth
    if prediction.uv_px is None or truth.uv_px is None:
        return None
    points = _points(prediction.uv_px, prediction.present("uv_px"), truth.uv_px, truth.present("uv_px"))
    distances = points.distances()
    if skip_border_px is None:
        return distances
    if image_side_px is None:
        raise ValueError("skip_border_px needs image_side_px")
    # The image covers [-0.5, side - 0.5].
    low, high = skip_border_px - 0.5, image_side_px - 0.5 - skip_border_px
    inside = ((points.true > low) & (points.true < high)).all(-1)
    return Distances(distances.errors, distances.counted & inside)


def space_points(matched: MatchedSets, intrinsics: Intrinsics | None = None) -> JointPairs | None:
    """Joints in mm from ``xyz_mm`` if both sets have it, else from ``uvd``, else None.

    ``uvd`` needs ``intrinsics`` (fx, fy, cx, cy in pixels) or K in a file; depths of 0 or less are missing joints.
    Raises ``InputError`` for invalid intrinsics, or missing ones if nothing else can be compared.
    """
    prediction, truth = matched.prediction, matched.truth
    if prediction.xyz_mm is not None and truth.xyz_mm is not None:
        return _points(prediction.xyz_mm, prediction.present("xyz_mm"), truth.xyz_mm, truth.present("xyz_mm"))
    if prediction.uvd is None or truth.uvd is None:
        return None
    K = _camera_of(matched, intrinsics)
    if K is None:
        if prediction.uv_px is not None and truth.uv_px is not None:
            return None
        raise InputError("both files hold uvd: give --intrinsics fx fy cx cy to turn it into millimetres")
    return _points(*prediction.unprojected(K), *truth.unprojected(K))


def space_distances(
    points: JointPairs, alignment: Alignment, matched: MatchedSets, root: str, reference_bone: tuple[str, str]
) -> Distances:
    """Distances in mm after alignment of the prediction to the truth.

    Frames without a true root or reference bone are not counted; if only the prediction lacks it, they are wrong.
    """
    if alignment == "none":
        return points.distances()
    both = points.in_prediction & points.in_truth
    if alignment == "similarity":
        return points.distances(align_similarity(points.predicted, points.true, both))

    needed = [matched.joint(root)]
    scale = torch.ones_like(points.true[:, :1, :1])
    if alignment == "root-scale":
        ends = [matched.joint(name) for name in reference_bone]
        needed += ends
        true_mm, predicted_mm = (_length(p, ends) for p in (points.true, points.predicted))
        scale = (true_mm / predicted_mm)[:, None, None]
    root_of = slice(needed[0], needed[0] + 1)
    aligned = (points.predicted - points.predicted[:, root_of]) * scale + points.true[:, root_of]
    distances = points.distances(aligned)
    known = points.in_truth[:, needed].all(1, keepdim=True)
    predicted = points.in_prediction[:, needed].all(1, keepdim=True)
    # A predicted reference bone of length 0 gives 0/0 or x/0, which counts as wrong.
    errors = torch.where(predicted & torch.isfinite(distances.errors), distances.errors, torch.inf)
    return Distances(errors, distances.counted & known)


def _length(points: Tensor, ends: list[int]) -> Tensor:
    return torch.linalg.vector_norm(points[:, ends[0]] - points[:, ends[1]], dim=-1)


def _points(predicted: np.ndarray, in_prediction: np.ndarray, true: np.ndarray, in_truth: np.ndarray) -> JointPairs:
    return JointPairs(
        torch.from_numpy(np.where(in_prediction[..., None], predicted, 0).astype(np.float64)),
        torch.from_numpy(np.where(in_truth[..., None], true, 0).astype(np.float64)),
        torch.from_numpy(in_prediction),
        torch.from_numpy(in_truth),
    )


def _camera_of(matched: MatchedSets, intrinsics: Intrinsics | None) -> np.ndarray | None:
    """fx fy cx cy of every frame, (N, 4): the given ones, else the truth's, else the prediction's."""
    if intrinsics is not None:
        K = np.tile(np.array(intrinsics, dtype=np.float64), (len(matched.truth), 1))
    else:
        K = matched.truth.K if matched.truth.K is not None else matched.prediction.K
    for fx, fy, cx, cy in [] if K is None else np.unique(K, axis=0):
        check_intrinsics(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), "--intrinsics, or K of the files")
    return K


def success_rates(space: Distances, thresholds_mm: tuple[float, ...]) -> dict[str, float]:
    """Fraction of frames whose largest error is below each threshold, by the threshold as text."""
    rates = success_rate(space.errors, space.counted, thresholds_mm).tolist()
    return {f"{mm:g}": rate for mm, rate in zip(thresholds_mm, rates, strict=True)}
