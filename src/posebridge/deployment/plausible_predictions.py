"""Whether predicted joints in space have the size of a hand or a person: those of an untrained model have not."""

from pathlib import Path

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.skeletons.plausible_lengths import size_problems
from posebridge.skeletons.skeleton import Skeleton


def implausible_frames(keypoints: KeypointSet, skeleton: Skeleton) -> dict[str, str]:
    """The frames whose joints in space are too small or too large for the skeleton's subject, by key, with the reason.

    Empty without joints in space.
    """
    if keypoints.xyz_mm is None:
        return {}
    joints_m = np.asarray(keypoints.xyz_mm, dtype=np.float64) / 1000
    problems = size_problems(joints_m, "person" if skeleton.mirror_of else "hand")
    return {str(keypoints.key[row]): f"the prediction is implausible: {reason}" for row, reason in problems.items()}


def implausible_notes(implausible: dict[str, str], frames: int, listed: Path) -> tuple[str, ...]:
    """A line about implausible predictions among so many frames, of which ``listed`` is the list; none without any."""
    if not implausible:
        return ()
    key, reason = next(iter(implausible.items()))
    return (
        f"warning: {len(implausible)} of {frames} predictions have no possible size (listed in {listed}), such as "
        f"{key}: {reason.partition(': ')[2]}; check that the model is trained",
    )
