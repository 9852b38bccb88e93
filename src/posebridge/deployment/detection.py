"""The detector that finds the subjects of a target's frames."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from posebridge.contracts.subjects import SubjectKind
from posebridge.data.boxed_frames import Boxing
from posebridge.data.frames import RawFrame
from posebridge.data.image_crops import CropConfig, HandOption, crop_images
from posebridge.data.target import TargetFrames
from posebridge.data.target_config import DetectorChoice, TargetConfig
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.detected_frames import FollowedBoxing
from posebridge.deployment.detections import SubjectDetector
from posebridge.deployment.pose_search import PoseSearch
from posebridge.deployment.subject_tracker import TrackerConfig
from posebridge.errors import InputError

_SEARCH_EVERY = 60  # frames of a video from one search to the next, while no subject is lost


def target_detector(
    config: TargetConfig, kind: SubjectKind, predictor: CropPredictor | None, least_confidence: float | None = None
) -> SubjectDetector | None:
    """The detector of a target; None where it has boxes, or its whole frames are crops.

    As ``chosen_detector``. Raises ``InputError`` for boxes and a detector of the user's together.
    """
    if config.boxes is None:
        return chosen_detector(config.detector, kind, predictor, least_confidence, config.hand)
    if isinstance(config.detector, Path):
        raise InputError(f"boxes {config.boxes} and detector {config.detector} are both given: leave one of them out")
    return None


def chosen_detector(
    choice: DetectorChoice,
    kind: SubjectKind,
    predictor: CropPredictor | None,
    least_confidence: float | None = None,
    hand: HandOption = None,
) -> SubjectDetector | None:
    """What finds subjects in whole frames; None: the whole frame is the crop.

    Args:
        choice: of the user.
        kind: of the subjects.
        predictor: of crops, which searches by itself where its least confidence is known; None: there is none.
        least_confidence: takes the place of the predictor's; None or 0: the predictor's.
        hand: as the user names it: left or right is the only side that it searches for.

    Raises ``InputError`` for a bad detector.
    """
    if isinstance(choice, Path):
        from posebridge.deployment.detector import DetectOptions, Detector

        return Detector.load(choice, DetectOptions(kind=kind))
    if choice == "none" or predictor is None or predictor.least_confidence is None:
        return None
    side = None if hand == "annotated" else hand
    return PoseSearch(predictor, least_confidence or predictor.least_confidence, side)


def following(
    detector: SubjectDetector, time_s: Callable[[RawFrame], float], least_confidence: float | None, **options: Any
) -> FollowedBoxing:
    """Boxes that follow the detected subjects of videos. ``options`` are of ``TrackerConfig``.

    A subject is lost below the least confidence; None or 0: that of ``TrackerConfig``. A search takes longer than a
    detector, so that it is repeated less often.
    """
    if least_confidence:
        options["lost_confidence"] = least_confidence
    if isinstance(detector, PoseSearch):
        options["detect_every"] = _SEARCH_EVERY
    return FollowedBoxing(detector, time_s, TrackerConfig(**options))


class PredictedBoxing(Boxing):
    """Boxes that follow the joints of a predictor, for frames that are predicted later."""

    def __init__(self, following: FollowedBoxing, predictor: CropPredictor, crop: CropConfig):
        """``crop`` is that of ``detected`` frames."""
        super().__init__()
        self.following = following
        self.predictor = predictor
        self.crop = crop
        self.skipped = following.skipped  # frames in which the subject was lost join them

    def subjects(self, frame: RawFrame) -> Iterator[RawFrame]:
        """Yields the frame once for each of its subjects."""
        for followed in self.following.subjects(frame):
            joints = self.predictor.predict_crops(crop_images([followed], self.crop))
            if self.following.observe_keypoints(followed, joints):
                yield followed
            else:
                self.skipped[followed.key] = "the subject was lost"


def detected(target: TargetFrames, boxing: Boxing, kind: SubjectKind) -> TargetFrames:
    """The target with boxes of a detector; hands that the user doesn't name are those that it detects."""
    return TargetFrames(target.frames, detected_crop(target.crop, kind), boxing, target.K)


def detected_crop(crop: CropConfig, kind: SubjectKind) -> CropConfig:
    """How detected subjects are cut: hands that the user doesn't name as those that are detected."""
    return replace(crop, hand="annotated") if crop.hand is None and kind == "hand" else crop


def times_of(rates: Mapping[str, Fraction]) -> Callable[[RawFrame], float]:
    """The time of a frame in its video, in seconds, by the rates of videos (frames a second)."""
    return lambda frame: float(frame.frame / rates[frame.sequence])
