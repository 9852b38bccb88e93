"""Distribution of the motion in videos."""

from dataclasses import dataclass

from posebridge.errors import InputError


@dataclass(frozen=True)
class MotionDistribution:
    """Key poses of a subject, and the motion of its root between them.

    Raises ``InputError`` for a ``keyframe_interval`` below 1.
    """

    keyframe_interval: int = 12  # frames between sampled key poses
    # Standard deviation of the rotation from the first one, about the camera's x (tilt), y (turn) and z (roll).
    turn_deg: tuple[float, float, float] = (8.0, 8.0, 8.0)
    sway_frac: float = 0.02  # standard deviation of the position, as a fraction of the distance to the camera
    joint_extent_frac: float = 0.85  # extent of the joints of all key poses as a fraction of the image's side

    def __post_init__(self):
        if self.keyframe_interval < 1:
            raise InputError(
                f"keyframe_interval={self.keyframe_interval}: give the number of frames between poses, 1 or more"
            )
