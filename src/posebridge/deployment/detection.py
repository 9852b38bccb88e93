"""The detector that finds the subjects of a target's frames."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from posebridge.contracts.subjects import SubjectKind
from posebridge.data.boxed_frames import Boxing
from posebridge.data.frames import RawFrame
from posebridge.data.target import TargetFrames
from posebridge.data.target_config import DetectorChoice, TargetConfig
from posebridge.deployment.detections import SubjectDetector
from posebridge.deployment.shipped_models import SHIPPED_DETECTOR, shipped_folder
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


def target_detector(config: TargetConfig, kind: SubjectKind) -> SubjectDetector | None:
    """The detector of a target; None where it has boxes, or its whole frames are crops.

    Raises ``InputError`` for boxes and a detector of the user's together, and for a bad detector.
    """
    if config.boxes is None:
        return load_detector(config.detector, kind)
    if isinstance(config.detector, Path):
        raise InputError(f"boxes {config.boxes} and detector {config.detector} are both given: leave one of them out")
    return None


def load_detector(choice: DetectorChoice, kind: SubjectKind) -> SubjectDetector | None:
    """The chosen detector, which finds subjects of one kind. Raises ``InputError`` for a bad one."""
    if choice == "none":
        return None
    from posebridge.deployment.detector import DetectOptions, Detector

    folder = choice if isinstance(choice, Path) else shipped_folder(SHIPPED_DETECTOR)
    return Detector.load(folder, DetectOptions(kind=kind))


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
