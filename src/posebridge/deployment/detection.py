"""The detector that finds the subjects of a target's frames."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from posebridge.contracts.subjects import SubjectKind
from posebridge.data.boxed_frames import Boxing
from posebridge.data.frames import RawFrame
from posebridge.data.target import TargetFrames
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.detections import SubjectDetector
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


def load_detector(config: TargetConfig, kind: SubjectKind) -> SubjectDetector | None:
    """The detector of a target, where it names one.

    Raises ``InputError`` for boxes and a detector together, and for a bad detector.
    """
    if config.detector is None:
        return None
    if config.boxes is not None:
        raise InputError(f"boxes {config.boxes} and detector {config.detector} are both given: leave one of them out")
    from posebridge.deployment.detector import DetectOptions, Detector

    return Detector.load(config.detector, DetectOptions(kind=kind))


def subject_kind(skeleton: Skeleton) -> SubjectKind:
    """What a skeleton is of: people have a left and a right side, a hand hasn't."""
    return "person" if skeleton.mirror_of else "hand"


def detected(target: TargetFrames, boxing: Boxing, kind: SubjectKind) -> TargetFrames:
    """The target with boxes of a detector; hands that the user doesn't name are those that it detects."""
    crop = target.crop
    if crop.hand is None and kind == "hand":
        crop = replace(crop, hand="annotated")
    return TargetFrames(target.frames, crop, boxing, target.K)


def times_of(rates: Mapping[str, Fraction]) -> Callable[[RawFrame], float]:
    """The time of a frame in its video, in seconds, by the rates of videos (frames a second)."""
    return lambda frame: float(frame.frame / rates[frame.sequence])
