"""Calibrated depth cameras: a folder of depth pictures each, and ``cameras.json`` beside them.

``cameras.json`` has an entry a folder: ``{"left": {"intrinsics": [fx, fy, cx, cy], "T_world_cam": [[...], ...]}}``,
intrinsics in pixels, the camera's pose (4, 4) in a world that all share, in metres. Other fields are refused: pictures
are those of pinhole cameras. Pictures of one moment have the same name in each folder.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import check_near_together, is_rigid
from posebridge.data.datasets.depth_folder import DepthFolder
from posebridge.data.datasets.options import Encoding
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame, Side
from posebridge.data.natural_order import natural_key
from posebridge.errors import InputError
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json

CAMERAS = "cameras.json"
_FIELDS = ("intrinsics", "T_world_cam")


class DepthRig(IndexedFrames):
    """One frame a picture, moment by moment: key ``camera/name``, frame the moment's number, view the camera's."""

    def __init__(
        self,
        path: Path,
        unit_m: float = 1e-3,
        hand: Side | None = None,
        encoding: Encoding = "16-bit",
    ):
        """Raises ``InputError`` for a calibration that is missing, broken or singular, and for cameras without pictures
        of one moment.
        """
        self.cameras = _read_cameras(path / CAMERAS)
        self._folders = [
            DepthFolder(path / name, K, unit_m, "none", hand=hand, encoding=encoding)
            for name, (K, _) in self.cameras.items()
        ]
        self.skipped: dict[str, str] = {}
        for folder in self._folders:
            self.skipped.update(folder.skipped)
            folder.skipped = self.skipped  # to which pages are added as they are met
        self._moments = [_moments(folder) for folder in self._folders]
        views_of = Counter(moment for moments in self._moments for moment in moments)
        self._number = {moment: i for i, moment in enumerate(sorted(views_of, key=natural_key))}
        if len(self._moments) > 1 and max(views_of.values()) == 1:
            names = ", ".join(f"{name}/{moments[0]}" for name, moments in zip(self.cameras, self._moments, strict=True))
            raise InputError(
                f"{path}: no moment was seen by two cameras ({names}): pictures of one moment need the same name"
            )
        places = [(view, i) for view, folder in enumerate(self._folders) for i in range(len(folder))]
        self._places = sorted(places, key=lambda place: (self._moment(*place), place[0]))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        view, i = self._places[index]
        folder, (name, (_, T_world_cam)) = self._folders[view], list(self.cameras.items())[view]
        key = f"{name}/{self._moments[view][i]}"
        return replace(folder[i], key=key, frame=self._moment(view, i), view=view, T_world_cam=T_world_cam)

    def frame_index(self) -> FrameIndex:
        """Sequence, number of the moment and camera of every picture."""
        sequences = [folder.frame_index().sequence for folder in self._folders]
        return FrameIndex.of((sequences[view][i], self._moment(view, i), view) for view, i in self._places)

    def _moment(self, view: int, i: int) -> int:
        return self._number[self._moments[view][i]]


def _moments(folder: DepthFolder) -> list[str]:
    """Names of a camera's pictures: their paths below its folder, without suffix."""
    return [file.relative_to(folder.root).with_suffix("").as_posix() for file in folder.files]


def _read_cameras(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """K (3, 3) and T_world_cam (4, 4) by the name of the camera's folder."""
    example = '{"left": {"intrinsics": [fx, fy, cx, cy], "T_world_cam": [[...], [...], [...], [...]]}}'
    try:
        content = parse_json(read_file(path), unique_keys=True)
        if not isinstance(content, dict) or not content:
            raise ValueError("no cameras")
        cameras = {name: _camera(name, entry) for name, entry in content.items()}
        check_near_together(np.stack([T_world_cam for _, T_world_cam in cameras.values()]), "T_world_cam")
        return cameras
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: not a calibration ({error!r}); it looks like {example}") from None


def _camera(name: str, entry: Any) -> tuple[np.ndarray, np.ndarray]:
    if name in ("", ".", "..") or Path(name).name != name:
        raise InputError(f"{name!r} is no name of a folder beside it")
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is no object")
    if unknown := sorted(entry.keys() - _FIELDS):
        raise InputError(
            f"{name} has the unknown fields {', '.join(unknown)}: give {' and '.join(_FIELDS)} alone; "
            "of cameras with lens distortion, undistort the pictures first"
        )
    fx, fy, cx, cy = (float(number) for number in entry["intrinsics"])
    T_world_cam = np.array(entry["T_world_cam"], dtype=np.float64)
    if T_world_cam.shape != (4, 4) or not is_rigid(T_world_cam):
        raise InputError(
            f"T_world_cam of {name} is no rotation and translation in metres: {T_world_cam.tolist()}; calibrate again"
        )
    return camera_matrix(fx, fy, cx, cy), T_world_cam
