"""Intrinsics of a camera from four numbers, and checks of those that users give. Free of torch."""

import numpy as np

from posebridge.errors import InputError

_FOCAL_PX = 8.0  # shorter focal lengths are fractions of the image, not pixels


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """K (3, 3) of pixels without skew."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def check_intrinsics(K: np.ndarray, where: str) -> None:
    """Raise ``InputError`` unless ``K`` (3, 3) is a camera's, in pixels; mirrored axes are allowed."""
    if np.shape(K) != (3, 3) or not np.isfinite(K).all() or not np.array_equal(K[2], [0, 0, 1]):
        raise InputError(f"{where}: {np.asarray(K).tolist()} is no camera's K, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    fx, fy = np.linalg.norm(K[:2, :2], axis=1)
    if min(fx, fy) < _FOCAL_PX or not 0.5 < fx / fy < 2 or np.linalg.det(K[:2, :2]) == 0:
        given = f"fx={K[0, 0]:g} fy={K[1, 1]:g} cx={K[0, 2]:g} cy={K[1, 2]:g}"
        raise InputError(f"{where}: the intrinsics {given} are impossible: expected pixels of the files")
