"""Keypoints of many frames and their files, ``predictions.npz`` and ``labels.npz``."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from posebridge.contracts.files import write_atomically
from posebridge.contracts.names import normal_name
from posebridge.errors import InputError
from posebridge.npz_files import ArrayFileError, load_npz
from posebridge.skeletons.plausible_lengths import check_plausible_lengths

_JOINTS_OF = {"uv_px": 2, "xyz_mm": 3, "uvd": 3}  # coordinates of each kind of joint array

_FRACTION = 1.5  # largest coordinate of joints in fractions of the image, some of them outside


@dataclass(frozen=True)
class KeypointSet:
    """N frames of J joints, with at least one of ``uv_px``, ``xyz_mm`` and ``uvd``.

    A joint is missing where a coordinate isn't finite or ``valid`` is False.
    """

    key: np.ndarray  # (N,) unique names of the frames
    joint_names: tuple[str, ...] | None = None  # None: the file names no joints, which are matched by position
    uv_px: np.ndarray | None = None  # (N, J, 2) pixels of the image file
    xyz_mm: np.ndarray | None = None  # (N, J, 3) camera frame, or relative to the root
    uvd: np.ndarray | None = None  # (N, J, 3) u px, v px, depth along z in mm
    confidence: np.ndarray | None = None  # (N, J) in [0, 1]
    valid: np.ndarray | None = None  # (N, J) bool
    K: np.ndarray | None = None  # (N, 4) fx fy cx cy in pixels

    def __len__(self) -> int:
        return len(self.key)

    @property
    def n_joints(self) -> int:
        """The number of joints J."""
        return next(array.shape[1] for name in _JOINTS_OF if (array := getattr(self, name)) is not None)

    def present(self, name: str) -> np.ndarray:
        """(N, J) bool: which joints of the array ``name`` (uv_px, xyz_mm or uvd) are present."""
        present = np.isfinite(getattr(self, name)).all(-1)
        return present if self.valid is None else present & self.valid

    def unprojected(self, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints (N, J, 3) in mm from ``uvd`` and fx fy cx cy (N, 4) in pixels, and whether each is present.

        Depths of 0 or less are missing joints.
        """
        uvd = np.asarray(self.uvd, dtype=np.float64)
        rays = (uvd[..., :2] - K[:, None, 2:]) / K[:, None, :2]
        depth_mm = uvd[..., 2:]
        return np.concatenate([rays * depth_mm, depth_mm], -1), self.present("uvd") & (uvd[..., 2] > 0)

    def take(self, frames: np.ndarray, joints: np.ndarray) -> "KeypointSet":
        """The frames and joints with the given indices, in that order."""
        per_joint = ("uv_px", "xyz_mm", "uvd", "confidence", "valid")
        taken = {name: array[frames][:, joints] for name in per_joint if (array := getattr(self, name)) is not None}
        names = None if self.joint_names is None else tuple(self.joint_names[j] for j in joints)
        K = None if self.K is None else self.K[frames]
        return replace(self, key=self.key[frames], joint_names=names, K=K, **taken)

    @classmethod
    def load(cls, path: Path | str) -> "KeypointSet":
        """Read an npz file; runs nothing that is in it.

        Raises ``InputError`` for a file that is missing, unreadable or holds no keypoints.
        """
        path = Path(path)
        return _checked(_read(path), path)

    @classmethod
    def load_labels(cls, path: Path | str) -> "KeypointSet":
        """Like ``load``, and raises ``InputError`` for joints in space that are not in millimetres."""
        labels = cls.load(path)
        xyz_mm = labels.xyz_mm
        if xyz_mm is not None:
            present = labels.present("xyz_mm")
        elif labels.uvd is not None and labels.K is not None:
            xyz_mm, present = labels.unprojected(labels.K)
        else:
            return labels
        xyz_mm = np.where(present[..., None], xyz_mm, np.nan)
        check_plausible_lengths(xyz_mm, labels.joint_names, f"{path}: joints in space")
        return labels

    def save(self, path: Path | str) -> None:
        """Write an npz file, whole or not at all. Raises ``InputError`` for an unwritable folder or a full disk."""
        arrays = {f.name: np.asarray(value) for f in fields(self) if (value := getattr(self, f.name)) is not None}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_atomically(Path(path), buffer.getvalue())


def join(parts: Sequence[KeypointSet]) -> KeypointSet:
    """The frames of several sets with the same joints and arrays as one set."""
    arrays = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(KeypointSet)
        if f.name != "joint_names" and getattr(parts[0], f.name) is not None
    }
    return KeypointSet(joint_names=parts[0].joint_names, **arrays)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file that are fields of ``KeypointSet``."""
    if not path.is_file():
        defect = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {defect}: give an .npz file with key and uv_px, xyz_mm or uvd")
    try:
        return load_npz(path, [f.name for f in fields(KeypointSet)])
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except ArrayFileError as error:
        raise InputError(f"{path} {error}") from error


def _checked(arrays: dict[str, np.ndarray], path: Path) -> KeypointSet:
    """The arrays as a ``KeypointSet``. Raises ``InputError`` for missing arrays and for wrong shapes or types."""
    if "key" not in arrays:
        raise InputError(f"{path} has no key: expected key (N,), the names of the frames")
    key = _strings(arrays["key"], "key", path)
    if len(key) == 0:
        raise InputError(f"{path} holds no frames: its key is empty")
    kinds = [name for name in _JOINTS_OF if name in arrays]
    if not kinds:
        raise InputError(f"{path} has no joints: expected uv_px (N, J, 2), xyz_mm (N, J, 3) or uvd (N, J, 3)")

    n, j = len(key), arrays[kinds[0]].shape[1] if arrays[kinds[0]].ndim == 3 else 0
    for name in kinds:
        _expect(arrays[name], name, (n, max(j, 1), _JOINTS_OF[name]), path)
        if not np.isfinite(arrays[name]).all(-1).any():
            raise InputError(f"{path}: {name} has no finite joint at all, only NaN or infinity")
    _check_pixels(arrays, path)
    for name, shape in {"confidence": (n, j), "valid": (n, j), "K": (n, 4)}.items():
        if name in arrays:
            _expect(arrays[name], name, shape, path)
    names = None
    if "joint_names" in arrays:
        names = tuple(_strings(arrays["joint_names"], "joint_names", path).tolist())
        if len(names) != j:
            raise InputError(f"{path}: joint_names has {len(names)} names, expected {j} as {kinds[0]} has joints")
    valid = arrays["valid"].astype(bool) if "valid" in arrays else None
    numbers = {name: arrays[name] for name in (*kinds, "confidence", "K") if name in arrays}
    return KeypointSet(key, names, valid=valid, **numbers)


def _check_pixels(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Raise ``InputError`` for places in the image that are fractions of its sides."""
    for name in ("uv_px", "uvd"):
        uv = arrays[name][..., :2] if name in arrays else np.full(2, np.inf)
        uv = uv[np.isfinite(uv).all(-1)]
        if len(uv) > 1 and np.abs(uv).max() <= _FRACTION and np.ptp(uv) > 0:
            raise InputError(
                f"{path}: {name} lies within {np.abs(uv).max():.3g} of the first pixel: "
                "give pixels of the file, not fractions of the image"
            )


def _expect(array: np.ndarray, name: str, shape: tuple[int, ...], path: Path) -> None:
    """Raise ``InputError`` unless the array holds numbers and has this shape."""
    if array.dtype.kind not in "fiub":
        raise InputError(f"{path}: {name} holds {array.dtype}, expected numbers")
    if array.shape != shape:
        raise InputError(f"{path}: {name} has shape {array.shape}, expected {shape}")


def _strings(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """An array of unique names in composed Unicode; integers and bytes become text."""
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise InputError(f"{path}: {name} is {array.dtype} of shape {array.shape}, expected a list of names")
    try:
        names = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(str)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {name} is not text in UTF-8") from error
    names = np.array([normal_name(text) for text in names.tolist()], dtype=str)
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{path}: {name} holds {str(unique[counts > 1][0])!r} more than once, expected each once")
    return names
