"""Poses of single frames, as the page shows them and as files hold them."""

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from posebridge.cameras.pixel_maps import apply_map, mapped_box, upright_map
from posebridge.contracts.keypoint_set import KeypointSet, join
from posebridge.data.boxes import box_problem
from posebridge.data.frames import RawFrame, Side
from posebridge.data.image_crops import CropConfig, crop_images
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.detected_frames import DetectedBoxing, FollowedBoxing
from posebridge.deployment.detection import following
from posebridge.deployment.detections import SubjectDetector, subject_kind
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class FrameOptions:
    """What the page states about its frames."""

    hand: Side | None = None  # None: as detected, else right; or a person
    box_xyxy: tuple[float, float, float, float] | None = None  # pixels of the upright picture, one for all frames


@dataclass(frozen=True)
class FramePoses:
    """The subjects of one frame. Boxes are (4,) in pixels of the upright picture; None means the whole picture."""

    key: str
    frame: int
    width_px: int  # of the upright picture, as browsers show it
    height_px: int
    T_upright_file: np.ndarray  # (3, 3)
    boxes_xyxy: tuple[np.ndarray | None, ...]
    keypoints: KeypointSet | None  # a row for each subject, in pixels of the file; None without subjects
    milliseconds: float  # of locating, cropping, network and decoding
    time_s: float | None = None  # from the first frame of a video

    @cached_property
    def json_text(self) -> str:
        """The frame for the page as JSON, in pixels and axes of the upright picture; numbers are rounded to 0.01."""
        subjects = []
        for row, box in enumerate(self.boxes_xyxy):
            uv_px, xyz_mm = self._upright(row)
            assert self.keypoints is not None
            assert self.keypoints.confidence is not None
            subjects.append(
                {
                    "box": None if box is None else _rounded(box),
                    "uv": _rounded(uv_px),
                    "xyz": None if xyz_mm is None else _rounded(xyz_mm),
                    "confidence": _rounded(self.keypoints.confidence[row]),
                }
            )
        time_s = self.time_s
        content = {
            "frame": self.frame,
            "time": None if time_s is None or not math.isfinite(time_s) else round(time_s, 4),
            "width": self.width_px,
            "height": self.height_px,
            "ms": round(self.milliseconds, 1),
            "subjects": subjects,
        }
        return json.dumps(content, allow_nan=False)

    def _upright(self, row: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Joints (J, 2) in pixels and (J, 3) in mm of a subject, as the upright picture shows them."""
        assert self.keypoints is not None
        assert self.keypoints.uv_px is not None
        uv_px = apply_map(self.T_upright_file, self.keypoints.uv_px[row])
        if self.keypoints.xyz_mm is None:
            return uv_px, None
        xyz_mm = self.keypoints.xyz_mm[row]
        return uv_px, np.concatenate([xyz_mm[:, :2] @ self.T_upright_file[:2, :2].T, xyz_mm[:, 2:]], axis=1)


class FramePredictor:
    """Predicts all subjects of frames: those that a detector locates, the drawn box, or else the whole picture."""

    def __init__(
        self,
        predictor: CropPredictor,
        padding: float = 1.0,
        min_confidence: float | None = None,
        detector: SubjectDetector | None = None,
    ):
        """``padding``: side of the square crop over the larger side of a box. ``min_confidence``: poses with a lower
        mean confidence are left out, in [0, 1]; None: the model's.
        """
        self.predictor = predictor
        self.padding = padding
        self.min_confidence = (predictor.least_confidence or 0.0) if min_confidence is None else min_confidence
        self.detector = detector

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton whose joints are predicted."""
        return self.predictor.skeleton

    @property
    def is_hand(self) -> bool:
        """Whether frames show hands, which have a side; else people."""
        return subject_kind(self.skeleton) == "hand"

    def following(self) -> FollowedBoxing | None:
        """Follows the detected subjects of one video or camera; None without a detector."""
        # Boxes are not smoothed, so that numbers of frames do for times.
        if self.detector is None:
            return None
        return following(self.detector, lambda frame: float(frame.frame), self.min_confidence)

    def __call__(
        self, frame: RawFrame, options: FrameOptions, boxing: FollowedBoxing | None = None, time_s: float | None = None
    ) -> FramePoses:
        """The poses of one frame. ``boxing`` follows the subjects of its video; a single picture has none.

        Raises ``InputError`` for a box outside the picture, and for a side of a person.
        """
        started = time.perf_counter()
        height, width = frame.shape
        T_upright_file = upright_map(width, height, frame.turn, frame.mirror)
        if frame.turn % 2:
            width, height = height, width
        boxes: list[np.ndarray | None] = []
        parts: list[KeypointSet] = []
        for subject in self._subjects(frame, options, boxing, T_upright_file, width, height):
            part = self._predicted(subject, options.hand)
            if boxing is not None and options.box_xyxy is None:
                boxing.observe_keypoints(subject, part)
            assert part.confidence is not None
            if part.confidence.mean() >= self.min_confidence:
                boxes.append(None if subject.box_xyxy is None else mapped_box(subject.box_xyxy, T_upright_file))
                parts.append(part)
        keypoints = join(parts) if parts else None
        milliseconds = 1000 * (time.perf_counter() - started)
        poses = FramePoses(
            frame.key, frame.frame, width, height, T_upright_file, tuple(boxes), keypoints, milliseconds, time_s
        )  # fmt: skip
        _ = poses.json_text  # made here, in the thread of the predictions
        return poses

    def _subjects(
        self,
        frame: RawFrame,
        options: FrameOptions,
        boxing: FollowedBoxing | None,
        T_upright_file: np.ndarray,
        width: int,
        height: int,
    ) -> Iterable[RawFrame]:
        """The frame once for each of its subjects. ``width`` and ``height`` are those of the upright picture."""
        if options.hand is not None and not self.is_hand:
            raise InputError(f"the model predicts people ({self.skeleton.name}), who have no side: leave hand out")
        if options.box_xyxy is not None:
            box = np.array(options.box_xyxy, dtype=np.float64)
            if problem := box_problem(box, width, height):
                raise InputError(f"the box {box.tolist()} {problem}")
            return [replace(frame, box_xyxy=mapped_box(box, np.linalg.inv(T_upright_file)))]
        if self.detector is None:
            return [frame]
        return (boxing or DetectedBoxing(self.detector)).boxed([frame])

    def _predicted(self, subject: RawFrame, hand: Side | None) -> KeypointSet:
        """The keypoints of one subject: as the given hand, else as the detected one, else as a right one."""
        side = (hand or subject.hand or "right") if self.is_hand else None
        config = CropConfig(self.predictor.size_px, self.padding, "annotated" if self.is_hand else None)
        return self.predictor.predict_crops(crop_images([replace(subject, hand=side)], config))


def _rounded(values: np.ndarray) -> Any:
    """Nested lists of numbers to 0.01; None in place of a number that isn't finite, which JSON lacks."""
    rounded = np.asarray(values, dtype=np.float64).round(2)
    objects = rounded.astype(object)
    objects[~np.isfinite(rounded)] = None
    return objects.tolist()
