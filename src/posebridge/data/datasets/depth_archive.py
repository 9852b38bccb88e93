"""Depth frames in one ``.npz`` archive of arrays.

``depth_m`` (N, H, W) metres or ``depth_mm`` millimetres, 0 where the sensor gave none; ``K`` (3, 3) or (N, 3, 3).
It may hold ``key`` (N,) texts, ``sequence`` (N,) texts, ``frame`` and ``view`` (N,) whole numbers, ``T_world_cam``
(N, 4, 4) of calibrated views, metres, and ``centre_m`` (N, 3), the middle of each hand's cube in the camera frame.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from posebridge.cameras.intrinsics import check_intrinsics
from posebridge.data.datasets.annotations import check_near_together, is_rigid
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame, Side, UnreadableFrameError
from posebridge.errors import InputError
from posebridge.npz_files import ArrayFileError, load_npz

_SHAPES = {"key": (), "sequence": (), "frame": (), "view": (), "T_world_cam": (4, 4), "centre_m": (3,)}  # after N
_NUMBERS = {"frame": "iu", "view": "iu", "K": "fiu", "T_world_cam": "fiu", "centre_m": "fiu"}  # kinds of their types


class DepthArchive(IndexedFrames):
    """Frames of a file, those of a moment together. Without keys they are numbered, as in ``clip-00012``."""

    def __init__(self, path: Path, hand: Side | None = None):
        """Runs nothing in the file. Raises ``InputError`` for one that is broken or lacks depth or intrinsics."""
        arrays = _read(path)
        given = [name for name in ("depth_m", "depth_mm") if name in arrays]
        if len(given) != 1 or arrays[given[0]].ndim != 3 or arrays[given[0]].dtype.kind not in "fiu":
            raise InputError(f"{path}: it needs one array depth_m or depth_mm (N, H, W); it holds {', '.join(arrays)}")
        self._depth, self._unit_m = arrays[given[0]], np.float32(1 if given[0] == "depth_m" else 1e-3)
        count = len(self._depth)
        if count == 0:
            raise InputError(f"{path}: it holds no frame")
        _check_numbers(arrays, path)
        if "K" not in arrays or arrays["K"].shape not in ((3, 3), (count, 3, 3)):
            raise InputError(f"{path}: it needs the intrinsics K, (3, 3) or ({count}, 3, 3)")
        self._K = np.array(np.broadcast_to(arrays["K"].astype(np.float64), (count, 3, 3)))
        for K in self._K if arrays["K"].ndim == 3 else self._K[:1]:
            check_intrinsics(K, str(path))
        for name, shape in _SHAPES.items():
            if name in arrays and arrays[name].shape != (count, *shape):
                raise InputError(f"{path}: {name} is {arrays[name].shape}, not {(count, *shape)}")
        self.path, self.skipped = path, {}
        self._arrays = arrays
        self._hand: Side | None = hand
        width = len(str(count - 1))
        self._keys = [str(key) for key in arrays.get("key", [f"{path.stem}-{i:0{width}d}" for i in range(count)])]
        _check_keys(self._keys, path)
        self._rows = self._rows_by_moment()

    def _rows_by_moment(self) -> list[int]:
        """Rows of the arrays, those of a moment together. Raises ``InputError`` for a view that occurs twice."""
        arrays, path = self._arrays, self.path
        rows_of: dict[tuple[str, int], list[int]] = defaultdict(list)
        for row in range(len(self._depth)):
            rows_of[self._moment(row)].append(row)
        for (sequence, frame), rows in rows_of.items():
            if len({int(arrays["view"][row]) if "view" in arrays else 0 for row in rows}) < len(rows):
                raise InputError(
                    f"{path}: {sequence}, frame {frame}, occurs twice; give its views different numbers in view"
                )
        if "T_world_cam" in arrays:
            _check_poses(arrays["T_world_cam"].astype(np.float64), rows_of.values(), path)
        return [row for rows in rows_of.values() for row in rows]

    def __len__(self) -> int:
        return len(self._depth)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` for a centre that isn't in front of the camera."""
        row = self._rows[index]
        depth_m = self._depth[row].astype(np.float32) * self._unit_m
        depth_m = np.where(np.isfinite(depth_m), depth_m, 0)
        own = {name: array[row] for name, array in self._arrays.items() if name in _SHAPES}
        sequence, frame = self._moment(row)
        return RawFrame(
            image=None,
            key=self._keys[row],
            sequence=sequence,
            frame=frame,
            view=int(own.get("view", 0)),
            K=self._K[row],
            hand=self._hand,
            depth_m=depth_m,
            T_world_cam=own["T_world_cam"].astype(np.float64) if "T_world_cam" in own else None,
            centre_m=self._centre(row),
        )

    def frame_index(self) -> FrameIndex:
        """Sequence, number and view of every frame."""
        view = self._arrays.get("view", np.zeros(len(self), dtype=np.int64))
        return FrameIndex.of((*self._moment(row), int(view[row])) for row in self._rows)

    def _moment(self, row: int) -> tuple[str, int]:
        """Sequence and frame; without numbers each row is a moment of its own."""
        sequence, frame = (self._arrays.get(name) for name in ("sequence", "frame"))
        return self.path.stem if sequence is None else str(sequence[row]), row if frame is None else int(frame[row])

    def _centre(self, row: int) -> np.ndarray | None:
        """(3,) metres; None where the file holds no centres."""
        if "centre_m" not in self._arrays:
            return None
        centre_m = self._arrays["centre_m"][row].astype(np.float64)
        if not np.isfinite(centre_m).all() or centre_m[2] <= 0:
            raise UnreadableFrameError(
                self._keys[row], f"its centre_m {centre_m.tolist()} is not in front of the camera"
            )
        return centre_m


def _check_numbers(arrays: dict[str, np.ndarray], path: Path) -> None:
    for name, kinds in _NUMBERS.items():
        if name in arrays and arrays[name].dtype.kind not in kinds:
            expected = "whole numbers" if kinds == "iu" else "real numbers"
            raise InputError(f"{path}: {name} is of {arrays[name].dtype}, expected {expected}")


def _check_poses(T_world_cam: np.ndarray, moments: Iterable[list[int]], path: Path) -> None:
    if not is_rigid(T_world_cam).all():
        raise InputError(f"{path}: some T_world_cam are no rotation and translation in metres; calibrate again")
    for rows in moments:
        check_near_together(T_world_cam[rows], str(path))


def _check_keys(keys: list[str], path: Path) -> None:
    """Check that keys are unique relative paths: they become names of files below the output folder."""
    if len(set(keys)) < len(keys):
        raise InputError(f"{path}: some keys occur more than once; each must name one frame")
    for key in keys:
        place = PurePosixPath(key)
        if not place.parts or place.is_absolute() or ".." in place.parts or "\0" in key:
            raise InputError(f"{path}: the key {key!r} is no name of a file: give each frame a relative one")


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_npz(path, ("depth_m", "depth_mm", "K", *_SHAPES))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    except ArrayFileError as error:
        raise InputError(f"{path} {error}; expected an .npz with depth_m (N, H, W) and K") from None
