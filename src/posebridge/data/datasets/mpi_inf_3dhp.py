"""MPI-INF-3DHP (Mehta et al., 3DV 2017) in its release's layout: 14 cameras about one person, without markers.

Training: ``S1/Seq1/annot.mat`` (``annot2``, ``annot3``: cells, a camera each, (T, 28 * 2) pixels and (T, 28 * 3)
millimetres in the camera's frame), ``S1/Seq1/camera.calibration`` and ``S1/Seq1/imageSequence/video_0.avi``, or its
frames as ``imageSequence/video_0/frame_000001.jpg`` (also ``imageFrames/video_0``), numbered from 1.
Test: ``mpi_inf_3dhp_test_set/TS1/annot_data.mat`` (HDF5; reading it needs ``pip install h5py``) with ``annot2``,
``annot3``, ``valid_frame`` and ``imageSequence/img_000001.jpg``; its cameras are found from both annotations. Without
the annotations, ``imageSequence`` is a ``VideoFolder`` or an ``ImageFolder``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.data.datasets.annotations import (
    MM,
    checked_intrinsics,
    is_rigid,
    numbers,
    project,
    read_h5,
    read_mat,
)
from posebridge.data.datasets.options import Split
from posebridge.data.datasets.person_sequences import PersonSequence, PersonSequences, numbered_images
from posebridge.data.natural_order import natural_path_key
from posebridge.errors import InputError
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit
from posebridge.skeletons.skeleton import Skeleton
from posebridge.text_files import read_text

_TRAIN_JOINTS, _TEST_JOINTS = 28, 17
_AGREEMENT_PX = 10.0  # of annot2 with the projection of annot3; a wrong unit, order or camera is hundreds


class MpiInf3dhp(PersonSequences):
    """One frame a picture; sequence ``S1_Seq1`` or ``TS1``, view the camera's number, key ``S1_Seq1_0_000123``."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        views: tuple[int, ...] | None = None,
        every: int = 1,
        skeleton: Skeleton = H36M17,
    ):
        """``views``: cameras of the training set, all if None; the test set has one view.

        ``every`` n-th annotated frame.
        Raises ``InputError`` where no sequence is usable, or cameras, units and annotations don't go together.
        """
        root = Path(root)
        skipped: dict[str, str] = {}
        if split == "train":
            found = sorted(root.glob("S*/Seq*/annot.mat"), key=natural_path_key)
            expected = root / "S1/Seq1/annot.mat"
            sequences = [s for file in found for s in _read_training(file, views, skipped)]
            names = ORDERS["mpi_inf_3dhp_28"]
        else:
            found = sorted((root / "mpi_inf_3dhp_test_set").glob("TS*/annot_data.mat"), key=natural_path_key)
            expected = root / "mpi_inf_3dhp_test_set/TS1/annot_data.mat"
            sequences = [s for file in found for s in _read_test(file, skipped)]
            names = ORDERS["mpi_inf_3dhp"]
        if not found:
            raise InputError(f"{expected} and so on: no such file; without labels, open the images or videos instead")
        kept = [sequence.rows(np.arange(0, len(sequence.numbers), every)) for sequence in sequences]
        super().__init__(kept, names, skeleton, skipped)


def _read_training(file: Path, views: tuple[int, ...] | None, skipped: dict[str, str]) -> Iterator[PersonSequence]:
    folder = file.parent
    try:
        content = read_mat(file, ["annot2", "annot3"])
        calibration = read_calibration(folder / "camera.calibration")
    except InputError as error:
        skipped[str(file)] = str(error).removeprefix(f"{file}: ")
        return
    pixels, joints = (np.ravel(content[name]) for name in ("annot2", "annot3"))
    for view in range(len(joints)) if views is None else views:
        where = f"{file} camera {view}"
        images = _training_images(folder, view)
        if not images or view >= len(joints) or view not in calibration:
            skipped[where] = "its video, its annotation or its calibration is missing"
            continue
        joints_m = numbers(joints[view], (None, 3 * _TRAIN_JOINTS), f"{where}: annot3") * MM
        uv_px = numbers(pixels[view], (len(joints_m), 2 * _TRAIN_JOINTS), f"{where}: annot2")
        joints_m, uv_px = joints_m.reshape(-1, _TRAIN_JOINTS, 3), uv_px.reshape(-1, _TRAIN_JOINTS, 2)
        K, T_world_cam = calibration[view]
        _check(where, joints_m, uv_px, K)
        name = f"{folder.parent.name}_{folder.name}"
        first = 0 if isinstance(images, Path) else 1
        frames = np.arange(len(joints_m)) + first
        joints32 = joints_m.astype(np.float32)
        yield PersonSequence(name, f"{name}_{view}", images, frames, joints32, K, None, T_world_cam, view)


def _training_images(folder: Path, view: int) -> Path | dict[int, Path]:
    video = folder / "imageSequence" / f"video_{view}.avi"
    if video.is_file():
        return video
    for place in ("imageSequence", "imageFrames"):
        if images := numbered_images(folder / place / f"video_{view}", "frame_"):
            return images
    return {}


def _read_test(file: Path, skipped: dict[str, str]) -> Iterator[PersonSequence]:
    try:
        uv_px, joints_m, valid = _read_annot_data(file)
    except InputError as error:
        skipped[str(file)] = str(error).removeprefix(f"{file}: ")
        return
    if not valid.any():
        skipped[str(file)] = "no frame is marked as valid"
        return
    K = _fitted_intrinsics(uv_px[valid], joints_m[valid], str(file))
    _check(str(file), joints_m[valid], uv_px[valid], K)
    frames = np.flatnonzero(valid) + 1
    name = file.parent.name
    images = numbered_images(file.parent / "imageSequence", "img_")
    yield PersonSequence(name, name, images, frames, joints_m[valid].astype(np.float32), K)


def _check(where: str, joints_m: np.ndarray, uv_px: np.ndarray, K: np.ndarray) -> None:
    check_unit(joints_m, "person", f"{where}: annot3", "millimetres")
    away = float(np.median(np.abs(project(joints_m, K) - uv_px)))
    if not away < _AGREEMENT_PX:
        raise InputError(
            f"{where}: annot2 lie {away:.0f} px from the projection of annot3: expected joints in the camera's frame"
        )


def _read_annot_data(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (T, 17, 2), joints (T, 17, 3) in metres, valid (T,)."""
    pixels, joints, valid = read_h5(file, ("annot2", "annot3", "valid_frame"))
    count = valid.size
    uv_px = numbers(np.squeeze(pixels, axis=_ones(pixels)), (count, _TEST_JOINTS, 2), f"{file}: annot2")
    joints_mm = numbers(np.squeeze(joints, axis=_ones(joints)), (count, _TEST_JOINTS, 3), f"{file}: annot3")
    return uv_px, joints_mm * MM, np.ravel(valid) == 1


def _ones(array: Any) -> tuple[int, ...]:
    """The axis of people, which has one entry."""
    return (1,) if array.ndim == 4 and array.shape[1] == 1 else ()


def _fitted_intrinsics(uv_px: np.ndarray, joints_m: np.ndarray, where: str) -> np.ndarray:
    """The intrinsics that project the joints onto their pixels best, by least squares."""
    K = np.eye(3)
    rays = joints_m[..., :2] / joints_m[..., 2:]
    for axis in (0, 1):
        ray = rays[..., axis].ravel()
        design = np.stack([ray, np.ones_like(ray)], axis=1)
        good = np.isfinite(design).all(axis=1) & np.isfinite(uv_px[..., axis].ravel())
        solution = np.linalg.lstsq(design[good], uv_px[..., axis].ravel()[good], rcond=None)[0]
        K[axis, axis], K[axis, 2] = solution
    return checked_intrinsics(K, f"{where}: found from annot2 and annot3")


def read_calibration(path: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """K (3, 3) and ``T_world_cam`` (4, 4) in metres by the camera's number, from ``camera.calibration``.

    After a line of title, each camera has lines ``name``, ``sensor``, ``size``, ``animated``, ``intrinsic`` and
    ``extrinsic`` (4x4 row by row, world to camera, mm). Raises ``InputError`` for a missing or other file.
    """
    try:
        lines = [line.split() for line in read_text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}") from None
    cameras: dict[int, dict[str, np.ndarray]] = {}
    current: dict[str, np.ndarray] = {}
    for line in lines:
        if line[:1] == ["name"] and len(line) == 2 and line[1].isdigit():
            current = cameras.setdefault(int(line[1]), {})
        elif line[:1] in (["intrinsic"], ["extrinsic"]):
            try:
                current[line[0]] = np.array(line[1:], dtype=np.float64).reshape(4, 4)
            except ValueError:
                raise InputError(f"{path}: {line[0]} is not 16 numbers") from None
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for view, camera in cameras.items():
        if camera.keys() != {"intrinsic", "extrinsic"} or not is_rigid(camera["extrinsic"]):
            raise InputError(f"{path}: camera {view} lacks intrinsic, or an extrinsic that is a rigid motion")
        T_world_cam = np.linalg.inv(camera["extrinsic"])
        T_world_cam[:3, 3] *= MM
        found[view] = checked_intrinsics(camera["intrinsic"][:3, :3], f"{path}: camera {view}"), T_world_cam
    if not found:
        raise InputError(f"{path}: no camera's name, intrinsic and extrinsic are in it")
    return found
