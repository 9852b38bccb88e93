"""How subjects move in videos."""

from dataclasses import dataclass

from posebridge.errors import InputError


@dataclass(frozen=True)
class MotionDistribution:
    """Poses that a subject goes through, and how it turns and sways meanwhile."""

    keyframe_interval: int = 12  # frames from one drawn pose to the next
    # Deviation of the subject's rotation from its first one, about the camera's x (tilt), y (turn) and z (roll).
    turn_deg: tuple[float, float, float] = (8.0, 8.0, 8.0)
    sway_frac: float = 0.02  # deviation of its place, over its distance to the camera
    joint_extent_frac: float = 0.85  # of the picture's side, by all places where a joint is at a key pose

    def __post_init__(self):
        if self.keyframe_interval < 1:
            raise InputError(
                f"keyframe_interval={self.keyframe_interval}: give the number of frames between poses, 1 or more"
            )
