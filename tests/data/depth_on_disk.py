"""An open hand before a depth camera: joints by name, and their depth image."""

import cv2
import numpy as np

from posebridge.skeletons.hand import FINGERS

_ANGLES = dict(zip(FINGERS, np.deg2rad([50, 20, 3, -12, -28]), strict=True))  # from straight up, towards the thumb
_LENGTHS_M = {"thumb": (0.03, 0.04, 0.03, 0.025)} | dict.fromkeys(FINGERS[1:], (0.085, 0.04, 0.025, 0.02))
_THICKNESS_M = 0.016


def hand_places(centre_m: tuple[float, float, float] = (0.03, -0.02, 0.6)) -> dict[str, np.ndarray]:
    """Joints (3,) in the camera frame: a right hand with its palm to the camera, fingers up, thumb to the right."""
    wrist = np.add(centre_m, [0, 0.09, 0.01])
    places = {"wrist": wrist}
    for finger, angle in _ANGLES.items():
        at = wrist
        for i, length in enumerate(_LENGTHS_M[finger], start=1):
            at = at + length * np.array([np.sin(angle), -np.cos(angle), -0.1 * i])
            places[f"{finger}_{i}"] = at
    places["palm"] = (wrist + places["middle_1"]) / 2
    places["wrist_ulnar"], places["wrist_radial"] = np.add(wrist, [-0.02, 0, 0]), np.add(wrist, [0.02, 0, 0])
    for finger in FINGERS:  # ICVL's: middles of the bones
        chain = [places[f"{finger}_{i}"] for i in (1, 2, 3, 4)]
        for part, start, end in zip(("root", "mid", "tip"), chain, chain[1:], strict=False):
            places[f"{finger}_{part}"] = (start + end) / 2
    return places


def depth_picture_m(places: dict[str, np.ndarray], K: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) metres along z of the hand's surface, 0 around it. Near parts occlude far ones."""
    bones = [
        (places["wrist" if i == 1 else f"{finger}_{i - 1}"], places[f"{finger}_{i}"])
        for finger in FINGERS
        for i in (1, 2, 3, 4)
    ]
    bones += [(places["wrist"], places["palm"]), (places["wrist_ulnar"], places["wrist_radial"])]
    points = np.concatenate([np.linspace(start, end, 24) for start, end in bones])
    points = points[np.argsort(-points[:, 2])]
    picture = np.zeros((height, width), dtype=np.float32)
    for point in points:
        u, v, _ = np.rint(K @ point / point[2]).astype(int)
        cv2.circle(picture, (int(u), int(v)), round(_THICKNESS_M / 2 * K[0, 0] / point[2]), float(point[2] - 0.005), -1)
    return picture


def assert_joints_on_the_blob(uv_px: np.ndarray, joints_m: np.ndarray, depth_m: np.ndarray) -> None:
    """Every joint lies a little behind the surface at its pixel; a wrist is some 6 cm thick."""
    u, v = np.rint(uv_px).astype(int).T
    behind = joints_m[:, 2] - depth_m[v, u]
    assert (depth_m[v, u] > 0).all()
    assert ((behind > -0.015) & (behind < 0.04)).all(), behind
