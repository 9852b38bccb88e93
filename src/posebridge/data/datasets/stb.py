"""Stereo Hand Pose Tracking Benchmark (Zhang et al., ICIP 2017) in its release's layout.

``images/B1Counting/SK_color_0.png``, ``BB_left_0.png``, ``BB_right_0.png`` and so on (``images/`` may be left out), and
``labels/B1Counting_SK.mat`` and ``_BB.mat`` with ``handPara`` (3, 21, N) in millimetres: the palm's centre, then little
finger to thumb, base to tip. Six backgrounds with two motions of 1500 frames each, all of one person's left hand.
Labels of ``BB`` are in the frame of the stereo pair's left camera, those of ``SK`` in that of the depth sensor.
Without the labels, the images are an ``ImageFolder(root / "images" / "B1Counting")``; it holds every camera's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import roma
import torch

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM, PresentFiles, read_mat
from posebridge.data.datasets.hand_annotations import JOINTS, AnySplit
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord, spatial_labels
from posebridge.data.datasets.options import StereoCamera
from posebridge.errors import InputError
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit, size_problems

_MOTIONS = ("Counting", "Random")
_BACKGROUNDS: dict[AnySplit, range] = {"train": range(2, 7), "test": range(1, 2), "all": range(1, 7)}
_BASELINE_MM = 120.054
# The release gives the pose of the depth sensor's frame: X_depth = R X_color + t.
_SK_ROTATION_VECTOR = (0.00531, -0.01196, 0.00301)
_SK_TRANSLATION_MM = (-24.0381, -0.4563, -1.2326)
_PALM, _MIDDLE_1 = 0, 9  # rows of handPara


@dataclass(frozen=True)
class _Camera:
    """Pose of a camera: X_camera = R X_labels + t."""

    K: np.ndarray
    R: np.ndarray
    t_mm: np.ndarray
    view: int


class _Image(NamedTuple):
    file: Path
    sequence: str
    number: int
    row: int  # of the joints


class STB(HandFrames):
    """One frame an image; key ``B1Counting_SK_color_0``, sequence ``B1Counting``, view the camera.

    The wrist isn't labelled. It is put where the line from the base of the middle finger through the palm's centre
    arrives after twice the distance, 2 palm - middle_1: a usual way to compare with RHD, which labels the wrist.
    """

    def __init__(self, root: str | Path, split: AnySplit = "train", camera: StereoCamera = "SK_color"):
        """``split``: backgrounds 2 to 6 are for training, 1 is for testing (Zimmermann and Brox, ICCV 2017).

        Raises ``InputError`` where labels are missing, damaged, of a wrong shape or unit, or no image is there.
        """
        root = Path(root)
        self.camera = camera
        self.skipped: dict[str, str] = {}
        self._camera = _cameras()[camera]
        images = root / "images" if (root / "images").is_dir() else root
        self._images: list[_Image] = []
        joints_m: list[np.ndarray] = []
        for background in _BACKGROUNDS[split]:
            for motion in _MOTIONS:
                sequence = f"B{background}{motion}"
                path = root / "labels" / f"{sequence}_{camera[:2]}.mat"
                joints_m.append(_read_joints(path, self._camera))
                check_unit(joints_m[-1], "hand", f"{path}: hands", "millimetres")
                broken = size_problems(joints_m[-1], "hand")
                self._add(images / sequence, sum(map(len, joints_m[:-1])), len(joints_m[-1]), broken)
        self._joints_m = np.concatenate(joints_m)
        if not self._images:
            raise InputError(f"{images}: no image B1Counting/{camera}_0.png and so on of split {split!r} is there")

    def __len__(self) -> int:
        return len(self._images)

    def record(self, index: int) -> HandRecord:
        """The left hand of an image."""
        file, sequence, number, row = self._images[index]
        joints_m, uv_px, valid, box = spatial_labels(self._joints_m[row], self._camera.K, None, ORDERS["stb"], file)
        return HandRecord(
            file=file,
            key=f"{sequence}_{self.camera}_{number}",
            hand="left",
            uv_px=uv_px,
            valid=valid,
            box_xyxy=box,
            sequence=sequence,
            frame=number,
            view=self._camera.view,
            K=self._camera.K,
            joints_m=joints_m,
        )

    def _add(self, folder: Path, first_row: int, count: int, broken: dict[int, str]) -> None:
        present = PresentFiles()
        for number in range(count):
            file = folder / f"{self.camera}_{number}.png"
            if file not in present:
                self.skipped[str(file)] = "the file is missing"
            elif number in broken:
                self.skipped[str(file)] = broken[number]
            else:
                self._images.append(_Image(file, folder.name, number, first_row + number))


def _cameras() -> dict[StereoCamera, _Camera]:
    """The calibration in the release's description; the images are rectified and have no lens distortion."""
    K_bb = camera_matrix(822.79041, 822.79041, 318.47345, 250.31296)
    K_sk = camera_matrix(607.92271, 607.88192, 314.78337, 236.42484)
    R_depth_color = roma.rotvec_to_rotmat(torch.tensor(_SK_ROTATION_VECTOR, dtype=torch.float64)).numpy()
    return {
        "SK_color": _Camera(K_sk, R_depth_color.T, -R_depth_color.T @ np.array(_SK_TRANSLATION_MM), 0),
        "BB_left": _Camera(K_bb, np.eye(3), np.zeros(3), 0),
        "BB_right": _Camera(K_bb, np.eye(3), np.array([-_BASELINE_MM, 0.0, 0.0]), 1),
    }


def _read_joints(path: Path, camera: _Camera) -> np.ndarray:
    """(N, 21, 3) metres in the camera's frame, the palm replaced by the wrist."""
    value = read_mat(path, ["handPara"])["handPara"]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.shape[:2] != (3, JOINTS):
        raise InputError(f"{path}: handPara is not an array of numbers of shape (3, {JOINTS}, N)")
    if value.ndim != 3 or value.shape[2] == 0:
        raise InputError(f"{path}: handPara has shape {value.shape}, expected (3, {JOINTS}, N)")
    labels_mm = value.astype(np.float64).transpose(2, 1, 0)
    labels_mm[:, _PALM] = 2 * labels_mm[:, _PALM] - labels_mm[:, _MIDDLE_1]
    return (labels_mm @ camera.R.T + camera.t_mm) * MM
