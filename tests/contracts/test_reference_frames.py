"""Labels in the frame of a world, or of a camera with other axes, are refused."""

from dataclasses import replace

import numpy as np
import pytest

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.reference_frames import check_reference_frame
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21


def labels(frames: int = 12, noise_px: float = 3.0) -> KeypointSet:
    """Hands half a metre before a camera of 480 px, annotated with some noise."""
    rng = np.random.default_rng(0)
    xyz_mm = rng.normal([0, 0, 500], 40, (frames, 21, 3))
    uv_px = 480 * xyz_mm[..., :2] / xyz_mm[..., 2:] + 128 + rng.normal(0, noise_px, (frames, 21, 2))
    return KeypointSet(np.array([f"{i}" for i in range(frames)]), HAND21.joints, uv_px=uv_px, xyz_mm=xyz_mm)


def moved(keypoints: KeypointSet, rows: list[list[float]], t_mm: tuple[float, float, float]) -> KeypointSet:
    return replace(keypoints, xyz_mm=keypoints.xyz_mm @ np.array(rows, float).T + t_mm)


def relative(keypoints: KeypointSet) -> KeypointSet:
    return replace(keypoints, xyz_mm=keypoints.xyz_mm - keypoints.xyz_mm[:, :1])


Z_UP = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
OPENGL = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
WRONG = {
    "a world with z up, above its floor": (Z_UP, (0, 0, 1200)),
    "a world with z up, around its origin": (Z_UP, (3000, -2000, 0)),
    "a camera that looks along -z": (OPENGL, (0, 0, 0)),
    "x to the left": ([[-1, 0, 0], [0, 1, 0], [0, 0, 1]], (0, 0, 0)),
}


def test_camera_frames_are_accepted():
    check_reference_frame(labels(), "labels.npz")
    check_reference_frame(labels(), "labels.npz", relative=False)
    check_reference_frame(relative(labels()), "labels.npz")
    sparse = labels(1)
    sparse.xyz_mm[0, 3:] = np.nan
    check_reference_frame(sparse, "labels.npz")


def test_depth_needs_the_position():
    with pytest.raises(InputError, match=r"labels.npz: xyz_mm is relative to the joint wrist: give it in the camera's"):
        check_reference_frame(relative(labels()), "labels.npz", relative=False)


@pytest.mark.parametrize("name", WRONG)
def test_other_frames_are_refused(name):
    with pytest.raises(InputError, match=r"labels.npz: .* give it in the camera's frame \(x right, y down"):
        check_reference_frame(moved(labels(), *WRONG[name]), "labels.npz")


@pytest.mark.parametrize("rows", [OPENGL, Z_UP])
def test_relative_joints_with_other_axes_are_refused(rows):
    with pytest.raises(InputError, match="don't grow with u and v"):
        check_reference_frame(moved(relative(labels()), rows, (0, 0, 0)), "labels.npz")
