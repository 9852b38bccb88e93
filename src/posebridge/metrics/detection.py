"""Recall, precision and average precision of detections. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from posebridge.geometry.boxes import box_iou

LEAST_IOU = 0.5  # of a detection with a labelled box, to be right


@dataclass(frozen=True)
class ImageMatches:
    """Detections of one image compared with its labelled boxes."""

    confidence: Float[np.ndarray, "N"]
    label: np.ndarray  # (N,) the labelled box of each detection, -1 for none
    counted: Bool[np.ndarray, "N"]  # False for detections of ignored regions


def match_image(
    boxes_xyxy: Float[np.ndarray, "N 4"],
    confidence: Float[np.ndarray, "N"],
    labels_xyxy: Float[np.ndarray, "M 4"],
    ignored_xyxy: Float[np.ndarray, "K 4"],
    least_iou: float = LEAST_IOU,
) -> ImageMatches:
    """Assign detections to labelled boxes, the most confident first, each to the free one that it overlaps most.

    A detection without a label isn't counted where an ignored box covers half of it or more.
    """
    iou = box_iou(boxes_xyxy, labels_xyxy)
    label = np.full(len(boxes_xyxy), -1)
    for i in np.argsort(-confidence, kind="stable"):
        free = [j for j in range(len(labels_xyxy)) if j not in label and iou[i, j] >= least_iou]
        if free:
            label[i] = max(free, key=lambda j: iou[i, j])
    low = np.maximum(boxes_xyxy[:, None, :2], ignored_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], ignored_xyxy[None, :, 2:])
    area = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clip(min=1e-9).prod(axis=-1)
    covered = (high - low).clip(min=0).prod(axis=-1) / area[:, None]
    return ImageMatches(confidence, label, (label >= 0) | ~(covered >= 0.5).any(axis=1))


@dataclass(frozen=True)
class DetectionScore:
    """Numbers over all images, in [0, 1]; NaN where there is nothing to divide by."""

    recall: float  # of labelled boxes, at the given confidence
    precision: float  # of counted detections, at the given confidence
    average_precision: float  # area under precision over recall, over all confidences
    labels: int  # number of labelled boxes


def detection_score(matches: Sequence[ImageMatches], labels: int, least_confidence: float) -> DetectionScore:
    """The score of detections of many images that have ``labels`` labelled boxes in all."""
    confidence = np.concatenate([m.confidence[m.counted] for m in matches])
    right = np.concatenate([m.label[m.counted] >= 0 for m in matches])
    chosen = confidence >= least_confidence
    order = np.argsort(-confidence, kind="stable")
    found = np.cumsum(right[order])
    precision = found / np.arange(1, len(found) + 1)
    # The precision at a recall is the highest one at that recall or beyond.
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return DetectionScore(
        recall=_ratio(int((right & chosen).sum()), labels),
        precision=_ratio(int((right & chosen).sum()), int(chosen.sum())),
        average_precision=_ratio(float(highest[right[order]].sum()), labels),
        labels=labels,
    )


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
