"""Subjects that a pose network finds by itself: it predicts in windows of the whole image. Imports no torch.

A network of crops is confident where a window shows a subject of about the window's size. The most confident windows
are cut again around the predicted joints, and what is still confident is a subject.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from posebridge.data.frames import SIDES, RawFrame, Side
from posebridge.data.image_crops import CropConfig, crop_images
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.detections import Detections, subject_kind, suppressed
from posebridge.geometry.boxes import JOINT_BOX_PADDING, box_cover, joint_box


@dataclass(frozen=True)
class PoseSearchConfig:
    """Windows and candidates of a search."""

    windows_frac: tuple[float, ...] = (1.0, 0.7, 0.5, 0.35)  # sides over the image's longer side
    small_windows_frac: tuple[float, ...] = (0.25, 0.17)  # those that follow where the larger ones show nothing
    step: float = 0.5  # largest distance of neighbouring windows, over their side
    least_window_px: float = 48.0  # smaller windows show too little
    most_candidates: int = 8  # windows that are cut again
    rounds: int = 2  # how often
    largest_iou: float = 0.4  # of two subjects
    largest_cover: float = 0.7  # of two subjects: intersection over the smaller box, as parts look like small subjects
    least_box_px: float = 24.0  # smaller subjects are none
    batch_size: int = 32  # crops that go through the network together


@dataclass(frozen=True)
class PoseSearch:
    """A ``SubjectDetector`` made of a predictor of colour crops.

    Args:
        predictor: of hands or of people.
        least_confidence: mean confidence of the joints, below which a window shows no subject, in [0, 1].
        hand: the only side that is searched for; None: both, and the more confident one is the hand's.
        config: windows and candidates.
    """

    predictor: CropPredictor
    least_confidence: float
    hand: Side | None = None
    config: PoseSearchConfig = field(default_factory=PoseSearchConfig)

    def detect(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """The subjects of an upright RGB image; small ones only where there is no larger one."""
        found = self._in_windows(image, self.config.windows_frac)
        return found if len(found) else self._in_windows(image, self.config.small_windows_frac)

    def _in_windows(self, image: np.ndarray, windows_frac: tuple[float, ...]) -> Detections:
        sides = self._sides()
        windows = _windows(image.shape[0], image.shape[1], windows_frac, self.config)
        uv_px, confidence = self._predicted(image, windows, [sides[0]] * len(windows))
        best = np.argsort(-confidence, kind="stable")[: self.config.most_candidates]
        found = self._suppressed(_boxes(uv_px[best]), confidence[best], [sides[0]] * len(best))
        boxes, hands, confidence = found.boxes_xyxy, list(found.hand), found.confidence
        for round_ in range(self.config.rounds):
            if round_ == 0 and len(sides) > 1:
                boxes, hands, confidence = self._better_side(image, boxes, sides)
            else:
                uv_px, confidence = self._predicted(image, boxes, hands)
                boxes = _boxes(uv_px)
        sides_px = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        kept = np.flatnonzero((confidence >= self.least_confidence) & (sides_px >= self.config.least_box_px))
        apart = self._suppressed(boxes[kept], confidence[kept], [hands[i] for i in kept])
        return suppressed(apart, self.config.largest_cover, box_cover)

    def _sides(self) -> tuple[Side | None, ...]:
        """The hands that crops may show, the one of the first windows before the other."""
        if subject_kind(self.predictor.skeleton) == "person":
            return (None,)
        return SIDES[::-1] if self.hand is None else (self.hand,)

    def _better_side(
        self, image: np.ndarray, boxes: np.ndarray, sides: tuple[Side | None, ...]
    ) -> tuple[np.ndarray, list[Side | None], np.ndarray]:
        """Boxes, hands and confidence of each candidate, as the side of which the network is more confident."""
        count = len(boxes)
        hands: list[Side | None] = [side for side in sides for _ in range(count)]
        uv_px, confidence = self._predicted(image, np.tile(boxes, (len(sides), 1)), hands)
        best = confidence.reshape(len(sides), count).argmax(axis=0)
        rows = best * count + np.arange(count)
        return _boxes(uv_px[rows]), [sides[i] for i in best], confidence[rows]

    def _predicted(
        self, image: np.ndarray, boxes: np.ndarray, hands: list[Side | None]
    ) -> tuple[Float[np.ndarray, "N J 2"], Float[np.ndarray, "N"]]:
        """Joints in pixels of the image, and their mean confidence, in a crop of each box."""
        config = CropConfig(self.predictor.size_px, hand=None if hands and hands[0] is None else "annotated")
        uv_px, confidence = [np.zeros((0, len(self.predictor.skeleton), 2))], [np.zeros(0)]
        size = self.config.batch_size
        for start in range(0, len(boxes), size):
            frames = [
                RawFrame(image, str(i), box_xyxy=boxes[i], hand=hands[i])
                for i in range(start, min(start + size, len(boxes)))
            ]
            found = self.predictor.predict_crops(crop_images(frames, config))
            assert found.uv_px is not None
            assert found.confidence is not None
            uv_px.append(found.uv_px)
            confidence.append(found.confidence.mean(axis=1))
        return np.concatenate(uv_px), np.concatenate(confidence)

    def _suppressed(self, boxes: np.ndarray, confidence: np.ndarray, hands: list[Side | None]) -> Detections:
        order = np.argsort(-confidence, kind="stable")
        ordered = Detections(boxes[order], confidence[order].astype(np.float64), tuple(hands[i] for i in order))
        return suppressed(ordered, self.config.largest_iou)


def _boxes(uv_px: Float[np.ndarray, "N J 2"]) -> Float[np.ndarray, "N 4"]:
    """Boxes around joints, as detectors give them."""
    boxes = [joint_box(joints.astype(np.float64), JOINT_BOX_PADDING) for joints in uv_px]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _windows(
    height_px: int, width_px: int, windows_frac: tuple[float, ...], config: PoseSearchConfig
) -> Float[np.ndarray, "N 4"]:
    """Square windows over the whole image, the largest first."""
    longer = max(height_px, width_px)
    # The window of the whole image is never too small.
    sides = [frac * longer for frac in windows_frac if frac == 1 or frac * longer >= config.least_window_px]
    windows = [
        (x, y, x + side, y + side)
        for side in sides
        for y in _starts(height_px, side, config.step)
        for x in _starts(width_px, side, config.step)
    ]
    return np.array(windows, dtype=np.float64).reshape(-1, 4) - 0.5


def _starts(length_px: int, side_px: float, step: float) -> np.ndarray:
    """Where windows of a side begin along an axis: evenly, or one in the middle that reaches beyond both ends."""
    beyond = length_px - side_px
    if beyond <= 0:
        return np.array([beyond / 2])
    return np.linspace(0, beyond, int(np.ceil(beyond / (step * side_px))) + 1)
