"""Scores of predictions for a report."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Score
from posebridge.errors import InputError
from posebridge.evaluation.distances import JointPairs, image_distances, space_distances, space_points, success_rates
from posebridge.evaluation.matching import MatchedSets, match_keypoints
from posebridge.evaluation.protocols import PCK_005, EvaluationProtocol
from posebridge.geometry.alignment import align_similarity
from posebridge.metrics.joints import auc, masked_mean, masked_median, pck, pck_curve, per_group


def evaluate(
    prediction: KeypointSet,
    truth: KeypointSet,
    image_side_px: float,
    protocol: EvaluationProtocol = PCK_005,
    failed: Collection[str] = (),
) -> Score:
    """Score predictions of square images of side ``image_side_px`` under a protocol.

    A joint that only the truth has is wrong at every threshold and excluded from mean errors. Frames of ``failed``, by
    key, are wrong at every threshold and included in mean errors, by what is predicted.
    Raises ``InputError`` if the sets share no frame or joint, or one has no ``uv_px``.
    """
    matched = match_keypoints(prediction, truth)
    skip_px = None if protocol.skip_border is None else protocol.skip_border * image_side_px
    image = image_distances(matched, image_side_px, skip_px)
    if image is None:
        raise InputError("predictions and truth can't be compared in the image: both must hold uv_px")
    failing = torch.from_numpy(np.isin(matched.truth.key, [*failed]))
    strict = image.failing(failing)
    threshold_px = protocol.threshold * image_side_px
    thresholds = torch.linspace(0, protocol.curve_end, protocol.curve_steps, dtype=torch.float64)
    groups = {
        name: [matched.joint_names.index(joint) for joint in joints if joint in matched.joint_names]
        for name, joints in protocol.groups.items()
    }
    return Score(
        n_frames=int(image.counted.any(1).sum()),
        joint_names=matched.joint_names,
        image_side_px=image_side_px,
        pck_005=pck(strict.errors, image.counted, threshold_px).item(),
        mean_error_px=masked_mean(image.errors, image.measured).item(),
        auc=auc(strict.errors, image.counted, (0.0, protocol.curve_end * image_side_px), protocol.curve_steps).item(),
        pck_thresholds=tuple(thresholds.tolist()),
        pck_curve=tuple(pck_curve(strict.errors, image.counted, thresholds * image_side_px).tolist()),
        per_joint_pck=tuple(pck(strict.errors, image.counted, threshold_px, dim=0).tolist()),
        per_joint_error_px=tuple(masked_mean(image.errors, image.measured, dim=0).tolist()),
        per_group_pck={
            name: share.item()
            for name, share in per_group(
                lambda errors, valid: pck(errors, valid, threshold_px), strict.errors, image.counted, groups
            ).items()
        },
        alignment=protocol.alignment,
        **_in_space(space_points(matched), matched, protocol, failing),
    )


def _in_space(
    points: JointPairs | None, matched: MatchedSets, protocol: EvaluationProtocol, failing: Tensor
) -> dict[str, Any]:
    """The scores in mm, if both sets have joints in space."""
    if points is None:
        return {}
    space = space_distances(points, protocol.alignment, matched, protocol.root, protocol.reference_bone)
    both = points.in_prediction & points.in_truth
    procrustes = points.distances(align_similarity(points.predicted, points.true, both))
    return {
        "mean_error_mm": masked_mean(space.errors, space.measured).item(),
        "median_error_mm": masked_median(space.errors, space.measured).item(),
        "pa_mean_error_mm": masked_mean(procrustes.errors, procrustes.measured).item(),
        "success_rates": success_rates(space.failing(failing), protocol.success_mm),
    }


def frame_errors_px(prediction: KeypointSet, truth: KeypointSet) -> dict[str, float]:
    """Mean error in pixels of every shared frame with a measured joint, by key."""
    matched = match_keypoints(prediction, truth)
    image = image_distances(matched)
    if image is None:
        raise InputError("predictions and truth can't be compared in the image: both must hold uv_px")
    means = masked_mean(image.errors, image.measured, dim=1).tolist()
    return {str(key): mean for key, mean in zip(matched.truth.key, means, strict=True) if np.isfinite(mean)}


def select_example_frames(
    error_of: Mapping[str, float], count: int = 4
) -> list[tuple[str, Literal["best", "median", "worst"]]]:
    """Keys and ranks of the ``count`` best, median and worst frames, without repetition."""
    ranked = sorted(error_of, key=lambda key: error_of[key])
    count = min(count, len(ranked) // 3) or min(1, len(ranked))
    middle = max((len(ranked) - count) // 2, 0)
    picked: dict[str, Literal["best", "median", "worst"]] = {}
    for key in ranked[:count]:
        picked.setdefault(key, "best")
    for key in ranked[middle : middle + count]:
        picked.setdefault(key, "median")
    for key in ranked[len(ranked) - count :]:
        picked.setdefault(key, "worst")
    return list(picked.items())
