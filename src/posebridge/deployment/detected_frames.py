"""Whole frames turned into frames with boxes, by a detector: one frame for each subject. Imports no torch."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from posebridge.cameras.pixel_maps import mapped_box, upright_image, upright_map
from posebridge.data.frames import FrameStream, RawFrame, Side
from posebridge.deployment.detections import Detections, SubjectDetector
from posebridge.deployment.subject_tracker import SubjectTracker, TrackerConfig

NO_SUBJECT = "no subject was detected"


class DetectedFrames:
    """A ``FrameStream`` of single images: the detector runs on each. Frames without a subject are skipped."""

    def __init__(self, frames: FrameStream, detector: SubjectDetector, most_subjects: int | None = None):
        """``most_subjects`` of a frame, the most confident ones; with 1, frames keep their keys."""
        self.frames = frames
        self.detector = detector
        self.most_subjects = most_subjects
        self._without_subject: dict[str, str] = {}

    @property
    def skipped(self) -> dict[str, str]:
        """Files that could not be read, and frames without a subject, with the reason."""
        return self.frames.skipped | self._without_subject

    def __iter__(self) -> Iterator[RawFrame]:
        """Yields each frame once for each of its subjects, the most confident one first."""
        for frame in self.frames:
            found = detections_in_file(self.detector, frame)[: self.most_subjects]
            if not found:
                self._without_subject[frame.key] = NO_SUBJECT
            for number, (box, hand) in enumerate(found):
                yield _of_subject(frame, number, box, hand, alone=self.most_subjects == 1)


class FollowedFrames:
    """A ``FrameStream`` of videos: boxes follow the joints, the detector runs where ``SubjectTracker`` needs it.

    Joints of each yielded frame have to be given to ``observe`` before the next frame is taken.
    """

    def __init__(
        self,
        frames: FrameStream,
        detector: SubjectDetector,
        time_s: Callable[[RawFrame], float],
        config: TrackerConfig | None = None,
    ):
        """``time_s`` returns the time of a frame in its video, in seconds; it increases within a sequence."""
        self.frames = frames
        self.detector = detector
        self.time_s = time_s
        self.config = config or TrackerConfig()
        self._without_subject: dict[str, str] = {}
        self._tracker = SubjectTracker(self.config)
        self._waiting: dict[str, int] = {}  # tracks by the key of their frame, until their joints are observed

    @property
    def skipped(self) -> dict[str, str]:
        """Files that could not be read, and frames without a subject, with the reason."""
        return self.frames.skipped | self._without_subject

    def __iter__(self) -> Iterator[RawFrame]:
        """Yields each frame once for each of its subjects, by number of the track.

        Raises ``ValueError`` where the joints of a frame were not observed.
        """
        video = None
        for frame in self.frames:
            if (frame.sequence, frame.view) != video:
                video, self._tracker = (frame.sequence, frame.view), SubjectTracker(self.config)
            detections = None
            if self._tracker.needs_detections:
                detections = _in_file(self.detector, frame)
            tracks = self._tracker.begin_frame(detections, self.time_s(frame))
            if not tracks:
                self._without_subject[frame.key] = NO_SUBJECT
            for track in tracks:
                followed = _of_subject(
                    frame, track.number, track.box_xyxy, track.hand, alone=self.config.most_subjects == 1
                )
                self._waiting[followed.key] = track.number
                yield followed
            if self._waiting:
                raise ValueError(f"the joints of {next(iter(self._waiting))} were not observed")

    def observe(self, frame: RawFrame, uv_px: Float[np.ndarray, "J 2"], confidence: Float[np.ndarray, "J"]) -> bool:
        """Take the joints of a yielded frame, in pixels of the file. Returns whether its subject is still there."""
        return self._tracker.observe(self._waiting.pop(frame.key), uv_px, confidence)


def detections_in_file(detector: SubjectDetector, frame: RawFrame) -> list[tuple[Float[np.ndarray, "4"], Side | None]]:
    """Boxes of a frame's subjects in pixels of the file, each with its hand, the most confident first."""
    found = _in_file(detector, frame)
    order = np.argsort(-found.confidence, kind="stable")
    return [(found.boxes_xyxy[i], found.hand[i]) for i in order]


def _in_file(detector: SubjectDetector, frame: RawFrame) -> Detections:
    """The detections of the upright picture, in pixels of the file."""
    height, width = frame.shape
    found = detector.detect(upright_image(frame.rgb, frame.turn, frame.mirror))
    T_file_upright = np.linalg.inv(upright_map(width, height, frame.turn, frame.mirror))
    boxes = np.array([mapped_box(box, T_file_upright) for box in found.boxes_xyxy]).reshape(-1, 4)
    return Detections(boxes, found.confidence, found.hand)


def _of_subject(frame: RawFrame, number: int, box_xyxy: np.ndarray, hand: Side | None, alone: bool) -> RawFrame:
    key = frame.key if alone else f"{frame.key}_subject{number}"
    return replace(frame, key=key, box_xyxy=np.asarray(box_xyxy, dtype=np.float64), hand=hand)
