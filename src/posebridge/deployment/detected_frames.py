"""Boxes around the subjects that a detector finds in whole frames: implementations of ``Boxing``. Imports no torch."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from posebridge.cameras.pixel_maps import mapped_box, upright_image, upright_map
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.boxed_frames import Boxing
from posebridge.data.frames import RawFrame, Side
from posebridge.deployment.detections import Detections, SubjectDetector
from posebridge.deployment.one_euro import OneEuroFilter
from posebridge.deployment.subject_tracker import SubjectTracker, TrackerConfig

NO_SUBJECT = "no subject was detected"


class DetectedBoxing(Boxing):
    """The detector runs on each frame by itself. Frames without a subject are skipped."""

    def __init__(self, detector: SubjectDetector, most_subjects: int | None = None):
        """``most_subjects`` of a frame, the most confident ones."""
        super().__init__()
        self.detector = detector
        self.most_subjects = most_subjects

    def subjects(self, frame: RawFrame) -> Iterator[RawFrame]:
        """Yields the frame once for each of its subjects, the most confident one first. It keeps the frame's key."""
        found = detections_in_file(self.detector, frame)[: self.most_subjects]
        if not found:
            self.skipped[frame.key] = NO_SUBJECT
        for number, (box, hand) in enumerate(found):
            yield _of_subject(frame, number, box, hand)


class FollowedBoxing(Boxing):
    """Boxes follow the joints of videos, and the detector runs where ``SubjectTracker`` needs it.

    Joints of each yielded frame have to be given to ``observe`` before the next one is taken.
    """

    def __init__(
        self, detector: SubjectDetector, time_s: Callable[[RawFrame], float], config: TrackerConfig | None = None
    ):
        """``time_s`` returns the time of a frame in its video, in seconds; it increases within a sequence."""
        super().__init__()
        self.detector = detector
        self.time_s = time_s
        self.config = config or TrackerConfig()
        self._tracker = SubjectTracker(self.config)
        self._video: tuple[str, int] | None = None  # of the last frame
        self._waiting: dict[str, int] = {}  # tracks by the key of their frame, until their joints are observed

    def subjects(self, frame: RawFrame) -> Iterator[RawFrame]:
        """Yields the frame once for each of its subjects, by number of the track. Number 0 keeps the frame's key.

        Raises ``ValueError`` where the joints of a frame were not observed.
        """
        if (frame.sequence, frame.view) != self._video:
            self._video, self._tracker = (frame.sequence, frame.view), SubjectTracker(self.config)
        detections = None
        if self._tracker.needs_detections:
            detections = _in_file(self.detector, frame)
        tracks = self._tracker.begin_frame(detections, self.time_s(frame))
        if not tracks:
            self.skipped[frame.key] = NO_SUBJECT
        for track in tracks:
            followed = _of_subject(frame, track.number, track.box_xyxy, track.hand)
            self._waiting[followed.key] = track.number
            yield followed
            if self._waiting:
                raise ValueError(f"the joints of {next(iter(self._waiting))} were not observed")

    def track_of(self, frame: RawFrame) -> int:
        """The number of a yielded frame's track, until its joints are observed."""
        return self._waiting[frame.key]

    def observe(self, frame: RawFrame, uv_px: Float[np.ndarray, "J 2"], confidence: Float[np.ndarray, "J"]) -> bool:
        """Take the joints of a yielded frame, in pixels of the file. Returns whether its subject is still there."""
        return self._tracker.observe(self._waiting.pop(frame.key), uv_px, confidence)

    def observe_keypoints(self, frame: RawFrame, keypoints: KeypointSet) -> bool:
        """``observe`` the keypoints of that frame alone, as predictors of crops return them."""
        assert keypoints.uv_px is not None
        assert keypoints.confidence is not None
        return self.observe(frame, keypoints.uv_px[0], keypoints.confidence[0])


class SmoothedTracks:
    """Joints of each subject, smoothed over time by One Euro filters, in pixels of the file and in millimetres."""

    def __init__(self, time_s: Callable[[RawFrame], float]):
        self.time_s = time_s
        self._filters: dict[tuple[str, int, str], OneEuroFilter] = {}  # by sequence, track and field

    def __call__(self, frame: RawFrame, track: int, joints: KeypointSet) -> KeypointSet:
        """The joints of one frame; those of a track come in the order of time."""
        fields = {"uv_px": joints.uv_px, "xyz_mm": joints.xyz_mm}
        smooth: dict[str, np.ndarray] = {}
        for name, values in fields.items():
            if values is not None:
                smoothing = self._filters.setdefault((frame.sequence, track, name), OneEuroFilter())
                smooth[name] = smoothing(values, self.time_s(frame)).astype(values.dtype)
        return replace(joints, **smooth)


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


def _of_subject(frame: RawFrame, number: int, box_xyxy: np.ndarray, hand: Side | None) -> RawFrame:
    key = frame.key if number == 0 else f"{frame.key}_subject{number}"
    return replace(frame, key=key, box_xyxy=np.asarray(box_xyxy, dtype=np.float64), hand=hand)
