"""Functions that several readers share: files of arrays, cameras, projection, boxes and checks."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from posebridge.cameras.pinhole import Camera
from posebridge.contracts.names import normal_name
from posebridge.errors import InputError, one_line
from posebridge.npz_files import ArrayFileError, load_npy
from posebridge.regular_files import absence, check_regular, open_file, read_file
from posebridge.text_files import parse_json

MM = 1e-3
MATLAB_FIRST_PIXEL = 1.0  # Matlab's centre of the top-left pixel is (1, 1), ours (0, 0)

_CENTRE_PX = 8.0  # of an image of 16 px; a centre below is one of normalised intrinsics
_MAX_RIG_M = 10.0  # between cameras that see one hand


def read_mat(path: Path, names: Sequence[str], nested: bool = False) -> dict[str, Any]:
    """Variables of a Matlab file of version 5 to 7.2; with ``nested``, structures as objects.

    Raises ``InputError`` for a missing, damaged or newer file, or one that lacks a variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise InputError(f"{path}: {absence(path)}; without labels, open the images or videos instead")
    try:
        content = loadmat(
            str(path), variable_names=list(names), struct_as_record=not nested, squeeze_me=nested, appendmat=False
        )
    except NotImplementedError:
        raise InputError(f"{path}: a Matlab file of version 7.3; expected version 7.2 or older") from None
    except (MatReadError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, MemoryError) as error:
        raise InputError(f"{path}: not a Matlab file that can be read: {one_line(error)}") from None
    except Exception as error:  # zlib.error and struct.error of damaged content have no common base
        raise InputError(f"{path}: damaged: {one_line(error)}") from None
    for name in names:
        if name not in content:
            raise InputError(f"{path}: it lacks the variable {name!r}")
    return {name: content[name] for name in names}


def read_h5(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of an HDF5 file. Raises ``InputError`` for a damaged file, and for one that lacks an array."""
    h5py = optional_library("h5py", str(path))
    try:
        check_regular(path)
        with h5py.File(path, "r") as content:
            if missing := [name for name in names if name not in content]:
                raise InputError(f"{path}: it lacks {', '.join(missing)}")
            return [np.asarray(content[name]) for name in names]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # of h5py, for damaged files
        raise InputError(f"{path}: not an HDF5 file that can be read: {one_line(error)}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ``InputError`` for a missing or damaged one."""
    try:
        return parse_json(read_file(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; without labels, open the folder of images instead") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None


def read_npy(path: Path, hint: str) -> np.ndarray:
    """The array in a ``.npy`` file, without running anything in it. ``hint`` ends the error for a missing file.

    Raises ``InputError`` for a missing file, or one that holds no plain array of numbers.
    """
    try:
        with open_file(path) as file:
            array = load_npy(file)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {hint}") from None
    except ArrayFileError as error:
        raise InputError(f"{path} {error}") from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected an array of numbers")
    return array


class PresentFiles:
    """The existing files. Each folder is listed once, since a release has up to millions of images."""

    def __init__(self):
        self._names: dict[Path, dict[str, str]] = {}

    def __contains__(self, file: Path) -> bool:
        return self._listed(file.parent).get(normal_name(file.name)) == file.name or os.path.lexists(file)

    def find(self, file: Path) -> Path | None:
        """The file as the disk names it, which may be in another form of Unicode (NFC, NFD); None without one."""
        if os.path.isfile(file):  # Path.is_file raises OSError for a name that is too long
            return file
        if str(file).isascii():
            return None
        found = Path(file.anchor)
        for part in file.relative_to(file.anchor).parts:
            exact = os.path.exists(found / part)
            found /= part if exact else self._listed(found).get(normal_name(part), part)
        return found if os.path.isfile(found) else None

    def _listed(self, folder: Path) -> dict[str, str]:
        """The names in a folder by their composed form."""
        if folder not in self._names:
            try:
                self._names[folder] = {normal_name(name): name for name in os.listdir(folder)}
            except (OSError, ValueError):  # ValueError: a name with a null character
                self._names[folder] = {}
        return self._names[folder]


def numbers(value: Any, shape: tuple[int | None, ...], where: str) -> np.ndarray:
    """The value as float64 of that shape; None in it allows any length. Raises ``InputError`` that names ``where``."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where} is not an array of numbers") from None
    fits = array.ndim == len(shape) and all(e in (None, g) for e, g in zip(shape, array.shape, strict=True))
    if not fits:
        expected = " x ".join("T" if side is None else str(side) for side in shape)
        given = " x ".join(map(str, array.shape)) or "a single number"
        raise InputError(f"{where} is {given}, expected {expected}")
    return array


def flat_numbers(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """As ``numbers``, of a value that may be flat or nested in any way. NaN stands for null."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where} are not a list of numbers") from None
    if array.size != np.prod(shape):
        raise InputError(f"{where} have {array.size} numbers, expected {' x '.join(map(str, shape))}")
    return array.reshape(shape)


def checked_intrinsics(K: np.ndarray, where: str) -> np.ndarray:
    """Returns K (3, 3). Raises ``InputError`` unless it is a camera's with nearly square pixels."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    possible = np.isfinite(K).all() and np.array_equal(K[2], [0, 0, 1]) and min(fx, fy) > 0 and 0.5 < fx / fy < 2
    if not possible or min(cx, cy) < _CENTRE_PX or fx < 0.2 * max(cx, cy):
        raise InputError(
            f"{where}: the intrinsics fx={fx:g} fy={fy:g} cx={cx:g} cy={cy:g} are impossible: expected pixels"
        )
    return K


def project(joints_m: np.ndarray, K: np.ndarray, distortion: np.ndarray | None = None) -> np.ndarray:
    """Pixels (T, J, 2) of joints (T, J, 3) in the camera frame."""
    lens = None if distortion is None else torch.from_numpy(np.asarray(distortion, dtype=np.float64))
    camera = Camera(torch.from_numpy(K[None]).double(), None if lens is None else lens[None])
    points = torch.from_numpy(np.asarray(joints_m, dtype=np.float64)).reshape(1, -1, 3)
    return camera.project(points).numpy().reshape(*joints_m.shape[:-1], 2)


def pose_of_camera(R_cam_world: np.ndarray, centre_m: np.ndarray) -> np.ndarray:
    """``T_world_cam`` (4, 4) of a camera with its centre at ``centre_m`` (3,) in the world."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R_cam_world.T, centre_m
    return T


def is_rigid(T: np.ndarray) -> np.ndarray:
    """Whether matrices (..., 4, 4) are rigid motions: a rotation without a reflection, and a translation."""
    R = T[..., :3, :3]
    orthogonal = np.abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max(axis=(-2, -1)) < 1e-2
    below = (np.abs(T[..., 3, :] - [0, 0, 0, 1]) < 1e-6).all(axis=-1)
    return np.isfinite(T).all(axis=(-2, -1)) & orthogonal & below & (np.linalg.det(np.nan_to_num(R)) > 0)


def check_near_together(T_world_cam: np.ndarray, where: str) -> None:
    """Raise ``InputError`` for cameras (C, 4, 4) of one hand more than 10 m apart: mostly the unit is another one."""
    centres_m = T_world_cam[:, :3, 3]
    distance_m = float(np.linalg.norm(centres_m[:, None] - centres_m, axis=-1).max())
    if distance_m > _MAX_RIG_M:
        raise InputError(f"{where}: cameras of one hand stand {distance_m:.3g} m apart; T_world_cam is read as metres")


def optional_library(name: str, needed_for: str) -> Any:
    """Imports a library that only some files need. Raises ``InputError`` that names it where it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{needed_for}: reading it needs the library {name}: pip install {name}") from None
