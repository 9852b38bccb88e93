"""The tracks of SynthShift: what is rendered as source and target, and how it is scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from posebridge.errors import InputError
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR, PCK_005, PCK_005_BODY, EvaluationProtocol
from posebridge.methods.registry import Sensor
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.synthesis.domains import Track


@dataclass(frozen=True)
class TrackSpec:
    """One track."""

    name: Track
    skeleton: Skeleton
    sensor: Sensor
    protocol: EvaluationProtocol
    source: str = "studio"  # domain
    target: str = "street"  # domain
    video_frames: int | None = 24  # length of videos; None for tracks without

    def preset_family(self, videos: bool) -> str:
        """The family of its presets, for single images or for frames of ``videos``."""
        return f"synthshift/{self.name}-videos" if videos else f"synthshift/{self.name}"


TRACKS: Mapping[Track, TrackSpec] = {
    spec.name: spec
    for spec in (
        TrackSpec("hand-rgb", HAND21, "colour", PCK_005),
        TrackSpec("body-rgb", H36M17, "colour", PCK_005_BODY),
        TrackSpec("hand-depth", HAND21, "depth", DEPTH_JOINT_ERROR, video_frames=None),
    )
}


def track_of(subject: Literal["hand", "body"], sensor: Sensor = "colour") -> TrackSpec:
    """The track of a subject and a sensor. Raises ``InputError`` for bodies in depth."""
    if (subject, sensor) == ("body", "depth"):
        raise InputError("there is no track of bodies in depth: choose hands, or colour")
    return TRACKS["hand-depth" if sensor == "depth" else "hand-rgb" if subject == "hand" else "body-rgb"]
