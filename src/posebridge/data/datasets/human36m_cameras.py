"""The cameras of Human3.6M, from the release's ``metadata.xml``."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM, checked_intrinsics, pose_of_camera
from posebridge.errors import InputError
from posebridge.regular_files import read_file

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
_SUBJECTS = 11
_NUMBERS = 6 * _SUBJECTS * len(CAMERAS) + 9 * len(CAMERAS)


@dataclass(frozen=True)
class StudioCamera:
    """One of the four cameras in a subject's session."""

    K: np.ndarray  # (3, 3)
    distortion: np.ndarray  # (5,) k1 k2 p1 p2 k3
    T_world_cam: np.ndarray  # (4, 4) metres


def read_cameras(metadata: Path) -> dict[tuple[int, str], StudioCamera]:
    """Cameras by subject (1 to 11) and name.

    The 300 numbers of the element ``w0`` are, for each camera, 11 subjects' three Euler angles and place in mm
    (R = Rx Ry Rz, p_cam = R (p_world - place)), and after all of those each camera's nine intrinsics:
    focal lengths, centre, k1 k2 k3, p1 p2. Raises ``InputError`` for a missing or other file.
    """
    try:
        text = ElementTree.fromstring(read_file(metadata)).findtext(".//w0", "")
    except OSError as error:
        raise InputError(
            f"{metadata}: {error.strerror}; the release's metadata.xml holds the cameras, put it there"
        ) from None
    except ElementTree.ParseError as error:
        raise InputError(f"{metadata}: not XML: {error}") from None
    try:
        w0 = np.array(text.strip().strip("[]").replace(",", " ").split(), dtype=np.float64)
    except ValueError:
        w0 = np.empty(0)
    if len(w0) != _NUMBERS or not np.isfinite(w0).all():
        raise InputError(f"{metadata}: expected an element w0 with {_NUMBERS} numbers in brackets, found {len(w0)}")
    poses = w0[: 6 * _SUBJECTS * len(CAMERAS)].reshape(len(CAMERAS), _SUBJECTS, 6)
    lenses = w0[6 * _SUBJECTS * len(CAMERAS) :].reshape(len(CAMERAS), 9)
    return {
        (subject + 1, name): _camera(poses[i, subject], lenses[i], f"{metadata}: w0 of camera {name}")
        for i, name in enumerate(CAMERAS)
        for subject in range(_SUBJECTS)
    }


def _camera(pose: np.ndarray, lens: np.ndarray, where: str) -> StudioCamera:
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = lens.tolist()
    K = checked_intrinsics(camera_matrix(fx, fy, cx, cy), where)
    R_cam_world = _about(0, pose[0]) @ _about(1, pose[1]) @ _about(2, pose[2])
    return StudioCamera(K, np.array([k1, k2, p1, p2, k3]), pose_of_camera(R_cam_world, pose[3:] * MM))


def _about(axis: int, angle: float) -> np.ndarray:
    """The right-handed rotation (3, 3) about a coordinate axis, ``angle`` in radians."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[i, i] = R[j, j] = np.cos(angle)
    R[j, i] = np.sin(angle)
    R[i, j] = -np.sin(angle)
    return R
