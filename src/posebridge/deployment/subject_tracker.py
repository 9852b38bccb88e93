"""Subjects followed through the frames of a video. Imports no torch.

The box of a frame comes from the joints of the frame before. A detector runs on the first frame, on every n-th one,
after a subject was lost, and as long as there is none.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from posebridge.data.frames import Side
from posebridge.deployment.detections import Detections
from posebridge.deployment.one_euro import OneEuroConfig, OneEuroFilter
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING, box_iou, greedy_matches, joint_box


@dataclass(frozen=True)
class TrackerConfig:
    """When subjects begin, end, and are searched for. Raises ``InputError`` for numbers out of range."""

    detect_every: int = 10  # frames from one run of the detector to the next, while no subject is lost
    least_detection: float = 0.3  # confidence of a detection that begins a track
    lost_confidence: float = 0.15  # mean confidence of the joints, below which a subject is lost
    least_iou: float = 0.3  # of a detection with the box of a track, to be the same subject
    largest_iou: float = 0.7  # of two tracks; above it they follow one subject, and the younger one ends
    missed_detections: int = 2  # runs of the detector in a row without a match, after which a track ends
    most_subjects: int | None = None  # in one frame
    smoothing: OneEuroConfig | None = None  # of the boxes' sides, in pixels; None: boxes follow the joints at once

    def __post_init__(self):
        for name in ("detect_every", "missed_detections", "most_subjects"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} {value} is impossible: give 1 or more")
        for name in ("least_detection", "lost_confidence", "least_iou", "largest_iou"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"{name} {value} is impossible: give a number from 0 to 1")


@dataclass(frozen=True)
class Track:
    """One subject in the current frame."""

    number: int  # counted from 0 over the whole video
    box_xyxy: Float[np.ndarray, "4"]  # for the crop, pixels of the image
    hand: Side | None
    confidence: float  # of the last detection
    right_votes: float = 0.0  # detections of a right hand less those of a left one, each by its confidence
    missed: int = 0  # runs of the detector in a row without a match


class SubjectTracker:
    """Follows the subjects of one video. For each frame call ``begin_frame``, then ``observe`` for each track."""

    def __init__(self, config: TrackerConfig | None = None):
        self.config = config or TrackerConfig()
        self._tracks: dict[int, Track] = {}
        self._filters: dict[int, OneEuroFilter] = {}
        self._begun = 0  # number of tracks so far
        self._since_detection: int | None = None  # frames; None: the detector is to run
        self._time_s = 0.0

    @property
    def needs_detections(self) -> bool:
        """Whether the detector is to run on the next frame."""
        if self._since_detection is None or not self._tracks:
            return True
        return self._since_detection + 1 >= self.config.detect_every

    def begin_frame(self, detections: Detections | None, time_s: float) -> list[Track]:
        """The tracks of a frame, whose boxes are to be cropped, by number.

        Args:
            detections: of this frame, where the detector ran. They are needed where ``needs_detections`` is true.
            time_s: of this frame, later than that of the frame before.

        Raises ``ValueError`` for missing detections.
        """
        self._time_s = time_s
        self._end_duplicates()
        if detections is not None:
            self._match(detections)
            self._since_detection = 0
        elif self.needs_detections or self._since_detection is None:
            raise ValueError("this frame needs detections: run the detector where needs_detections is true")
        else:
            self._since_detection += 1
        return [self._tracks[number] for number in sorted(self._tracks)]

    def observe(self, number: int, uv_px: Float[np.ndarray, "J 2"], confidence: Float[np.ndarray, "J"]) -> bool:
        """Take the predicted joints of a track, in pixels of the image. Returns whether the subject is still there.

        A lost subject's track ends, and the detector is to run on the next frame.
        Raises ``KeyError`` for a track that isn't in this frame.
        """
        track = self._tracks[number]
        box = joint_box(np.asarray(uv_px, dtype=np.float64), JOINT_BOX_PADDING)
        if not np.isfinite(box).all() or float(np.mean(confidence)) < self.config.lost_confidence:
            self._end(number)
            self._since_detection = None
            return False
        if self.config.smoothing is not None:
            box = self._filters.setdefault(number, OneEuroFilter(self.config.smoothing))(box, self._time_s)
        self._tracks[number] = replace(track, box_xyxy=box)
        return True

    def _match(self, detections: Detections) -> None:
        """Assign detections to tracks; the others begin tracks, where they are confident enough."""
        numbers = sorted(self._tracks)
        boxes = np.array([self._tracks[number].box_xyxy for number in numbers]).reshape(-1, 4)
        pairs = greedy_matches(box_iou(boxes, detections.boxes_xyxy), self.config.least_iou)
        matched = {numbers[row]: column for row, column in pairs}
        for number in numbers:
            track = self._tracks[number]
            if number in matched:
                self._tracks[number] = _confirmed(track, detections, matched[number])
            elif track.missed + 1 >= self.config.missed_detections:
                self._end(number)
            else:
                self._tracks[number] = replace(track, missed=track.missed + 1)
        most = self.config.most_subjects
        for column in np.argsort(-detections.confidence, kind="stable"):
            full = most is not None and len(self._tracks) >= most
            if column in matched.values() or full or detections.confidence[column] < self.config.least_detection:
                continue
            box, hand = detections.boxes_xyxy[column], detections.hand[column]
            track = Track(self._begun, np.asarray(box, dtype=np.float64), hand, confidence=0.0)
            self._tracks[self._begun] = _confirmed(track, detections, int(column))
            self._begun += 1

    def _end(self, number: int) -> None:
        del self._tracks[number]
        self._filters.pop(number, None)

    def _end_duplicates(self) -> None:
        """End the younger one of two tracks that follow the same subject."""
        numbers = sorted(self._tracks)
        boxes = np.array([self._tracks[number].box_xyxy for number in numbers]).reshape(-1, 4)
        iou = box_iou(boxes, boxes)
        for j in range(len(numbers) - 1, 0, -1):
            if iou[j, :j].max() > self.config.largest_iou:
                self._end(numbers[j])


def _confirmed(track: Track, detections: Detections, place: int) -> Track:
    """A track after a detection of its subject. Its hand is the one with more votes, since single frames may err."""
    confidence, side = float(detections.confidence[place]), detections.hand[place]
    votes = track.right_votes + {"right": confidence, "left": -confidence, None: 0.0}[side]
    hand = track.hand if votes == 0 else "right" if votes > 0 else "left"
    return replace(track, confidence=confidence, right_votes=votes, hand=None if side is None else hand, missed=0)
