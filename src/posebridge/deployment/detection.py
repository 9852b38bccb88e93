"""The detector of a target's frames: of the package, or one that the user names."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Literal

from posebridge.contracts.subjects import SubjectKind
from posebridge.data.boxed_frames import Boxing
from posebridge.data.frames import RawFrame
from posebridge.data.target import TargetFrames
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.detections import SubjectDetector
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


def load_detector(config: TargetConfig, kind: SubjectKind) -> SubjectDetector | None:
    """The detector for a target; None where it has boxes, or where whole frames are its crops.

    Raises ``InputError`` for boxes and a detector together, and for a bad detector.
    """
    if config.boxes is not None and config.detector not in (None, "none"):
        raise InputError(f"boxes {config.boxes} and detector {config.detector} are both given: leave one of them out")
    folder = default_detector() if config.detector is None else config.detector
    if config.boxes is not None or folder == "none":
        return None
    from posebridge.deployment.detector import DetectOptions, Detector

    return Detector.load(folder, DetectOptions(kind=kind))


def subject_kind(skeleton: Skeleton) -> SubjectKind:
    """What a skeleton is of: people have a left and a right side, a hand hasn't."""
    return "person" if skeleton.mirror_of else "hand"


def default_detector() -> Path | Literal["none"]:
    """The folder of the package's detector."""
    return Path(str(files("posebridge").joinpath("models", "detector")))


def detected(target: TargetFrames, boxing: Boxing, kind: SubjectKind) -> TargetFrames:
    """The target with boxes of a detector; hands that the user doesn't name are those that it detects."""
    crop = target.crop
    if crop.hand is None and kind == "hand":
        crop = replace(crop, hand="annotated")
    return TargetFrames(target.frames, crop, boxing, target.K)


def times_of(rates: Mapping[str, Fraction]) -> Callable[[RawFrame], float]:
    """The time of a frame in its video, in seconds, by the rates of videos (frames a second)."""
    return lambda frame: float(frame.frame / rates[frame.sequence])
