"""What a detector finds and returns. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from posebridge.contracts.subjects import SubjectKind
from posebridge.data.frames import Side
from posebridge.geometry.boxes import box_iou
from posebridge.skeletons.skeleton import Skeleton

Overlap = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of all pairs of boxes (N, 4) and (M, 4)


@dataclass(frozen=True)
class Detections:
    """N subjects in one image, the most confident first."""

    boxes_xyxy: Float[np.ndarray, "N 4"]  # pixels of the image; 1.5 times the extent of the joints in the image
    confidence: Float[np.ndarray, "N"]  # in [0, 1]
    hand: tuple[Side | None, ...]  # left or right; None for people

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, index: np.ndarray) -> "Detections":
        """The detections at these positions."""
        return Detections(self.boxes_xyxy[index], self.confidence[index], tuple(self.hand[int(i)] for i in index))


class SubjectDetector(Protocol):
    """Anything that finds subjects: ``Detector``, or a detector of the user's."""

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """The subjects of an upright RGB image."""
        ...


def subject_kind(skeleton: Skeleton) -> SubjectKind:
    """What a skeleton is of: people have a left and a right side, a hand hasn't."""
    return "person" if skeleton.mirror_of else "hand"


def suppressed(detections: Detections, largest: float, overlap: Overlap = box_iou) -> Detections:
    """The detections without those that overlap a more confident one by more than ``largest``."""
    shared = overlap(detections.boxes_xyxy, detections.boxes_xyxy)
    kept: list[int] = []
    for i in range(len(detections)):
        if all(shared[i, j] <= largest for j in kept):
            kept.append(i)
    return detections.take(np.array(kept, dtype=np.int64))
