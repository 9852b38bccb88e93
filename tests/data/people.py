"""A person with known joints, and cameras with known distortion, for small body datasets."""

import cv2
import numpy as np

# Facing the camera, metres, x right, y down, z forward from the pelvis: the person's left is on the right.
_MIDDLE = {
    "pelvis": (0, 0),
    "spine1": (0, -0.1),
    "spine": (0, -0.25),
    "spine3": (0, -0.4),
    "thorax": (0, -0.5),
    "upper_neck": (0, -0.55),
    "head_centre": (0, -0.62),
    "head_top": (0, -0.8),
    "chest": (0, -0.42),
    "upper_chest": (0, -0.46),
    "lower_chest": (0, -0.35),
}
_LEFT = {
    "hip": (0.1, 0.02),
    "knee": (0.11, 0.45),
    "ankle": (0.12, 0.85),
    "toe_base": (0.13, 0.9),
    "toe_tips": (0.14, 0.92),
    "collar": (0.06, -0.46),
    "clavicle": (0.05, -0.47),
    "shoulder": (0.2, -0.45),
    "elbow": (0.25, -0.2),
    "wrist": (0.3, 0.02),
    "hand": (0.31, 0.08),
    "finger_tips": (0.32, 0.15),
}
PLACES = {
    **_MIDDLE,
    **{f"left_{name}": (x, y) for name, (x, y) in _LEFT.items()},
    **{f"right_{name}": (-1.1 * x, y + 0.01) for name, (x, y) in _LEFT.items()},  # no mirror image of the left
}


def person(names: tuple[str, ...], frames: int, distance_m: float = 5.0) -> np.ndarray:
    """(frames, J, 3) in the camera frame, walking to the right and a little towards the camera."""
    joints = np.array([[*PLACES[name], 0.03 * np.sin(7 * i)] for i, name in enumerate(names)])
    path = np.stack([[0.02 * t, 0, distance_m - 0.03 * t] for t in range(frames)])
    return joints[None] + path[:, None]


def rotation(*angles: float) -> np.ndarray:
    """(3, 3) of a rotation vector."""
    return cv2.Rodrigues(np.array(angles, dtype=np.float64))[0]


def pixels(joints_m: np.ndarray, K: np.ndarray, distortion: np.ndarray | None = None) -> np.ndarray:
    """(J, 2) as OpenCV projects them."""
    return cv2.projectPoints(joints_m.astype(np.float64), np.zeros(3), np.zeros(3), K, distortion)[0][:, 0]


def to_world(joints_m: np.ndarray, T_world_cam: np.ndarray) -> np.ndarray:
    return joints_m @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]


def facing(skeleton, labels) -> bool:
    """Whether all left joints are right of their mirror joints, as of a person who faces the camera."""
    sides = [(skeleton.index(left), skeleton.index(right)) for left, right in skeleton.mirror_of.items()]
    both = [(left, right) for left, right in sides if labels.valid[left] and labels.valid[right]]
    return bool(both) and all(labels.uv_px[left, 0] > labels.uv_px[right, 0] for left, right in both)
