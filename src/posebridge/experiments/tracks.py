"""The tracks of SynthShift: what is rendered as source and target, and how it is scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from posebridge.contracts.record import Metric
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
    metric: Metric  # of the track's table
    source: str = "studio"  # domain
    target: str = "street"  # domain
    video_frames: int | None = 24  # length of videos; None for tracks without

    @property
    def preset_family(self) -> str:
        """The family of its presets."""
        return f"synthshift/{self.name}"


TRACKS: Mapping[Track, TrackSpec] = {
    spec.name: spec
    for spec in (
        TrackSpec("hand-rgb", HAND21, "colour", PCK_005, "pck_005"),
        TrackSpec("body-rgb", H36M17, "colour", PCK_005_BODY, "pck_005"),
        TrackSpec("hand-depth", HAND21, "depth", DEPTH_JOINT_ERROR, "mean_error_mm", video_frames=None),
    )
}


def colour_track(subject: Literal["hand", "body"]) -> TrackSpec:
    """The track whose colour images show the subject."""
    return TRACKS["hand-rgb" if subject == "hand" else "body-rgb"]
