"""The hand's place in a depth frame, found without labels or a detector: the nearest surface.

Depth pipelines crop a cube around the centre of mass of the surface nearest to the camera (Oberweger et al., *Hands
Deep in Deep Learning for Hand Pose Estimation*, CVWW 2015). That holds where a hand points towards the sensor, as in
the public benchmarks. Elsewhere, give a box or a mask of the hand, or a file of centres.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from posebridge.errors import InputError

_CM2 = 1e4  # square centimetres of a square metre
_CONVERGED_M = 1e-3


@dataclass(frozen=True)
class BlobConfig:
    """Which surface counts as a hand."""

    near_m: float = 0.1
    far_m: float = 1.5
    min_area_m2: float = 30e-4  # a fist covers some 50 cm2; flying pixels, noise and a corner of a table less
    # Side of the cube whose centre of mass is the result. It is shorter than a hand with its forearm, so that the
    # mean stays half a hand's length from the finger tips instead of sliding down the arm.
    window_m: float = 0.16
    max_moves: int = 20


def depth_centre(
    depth_m: np.ndarray,
    K: np.ndarray,
    config: BlobConfig | None = None,
    box_xyxy: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Returns (3,) metres in the camera frame: the centre of mass of the nearest surface.

    ``depth_m`` (H, W) is in metres, 0 where missing; ``K`` (3, 3) are its intrinsics. ``box_xyxy`` (pixels of the file)
    and ``mask`` (H, W) bool narrow the search.
    The nearest surface ends at the depth in front of which lies an area of ``min_area_m2``. From its largest connected
    part, a window moves to the centre of mass of its content until it converges (mean shift).
    Raises ``InputError`` where there is no such surface.
    """
    config = config or BlobConfig()
    measured = depth_m > 0
    searched = measured & (depth_m >= config.near_m) & (depth_m <= config.far_m)
    if mask is not None:
        searched &= mask
    if box_xyxy is not None:
        searched &= _inside_box(depth_m.shape, box_xyxy)
    pixel_area_m2 = np.where(searched, depth_m.astype(np.float64) ** 2 / abs(np.linalg.det(K[:2, :2])), 0)
    if pixel_area_m2.sum() < config.min_area_m2:
        raise InputError(_no_surface(depth_m[measured], pixel_area_m2.sum(), config))
    nearest = _nearest_surface(depth_m, pixel_area_m2, config)
    return _mean_shift(_points(depth_m, searched, K), _points(depth_m, nearest, K).mean(axis=0), config)


def _nearest_surface(depth_m: np.ndarray, pixel_area_m2: np.ndarray, config: BlobConfig) -> np.ndarray:
    """(H, W) bool: the connected surface with the largest part of the ``min_area_m2`` nearest to the camera."""
    searched = pixel_area_m2 > 0
    order = np.argsort(depth_m[searched])
    met = np.searchsorted(np.cumsum(pixel_area_m2[searched][order]), config.min_area_m2)
    front_m = depth_m[searched][order][min(met, len(order) - 1)]
    # A quarter of the window deeper, so that fingers of one hand stay connected.
    surface = searched & (depth_m <= front_m + config.window_m / 4)
    count, part_of = cv2.connectedComponents(surface.astype(np.uint8))
    in_front = np.where(depth_m <= front_m, pixel_area_m2, 0)
    return part_of == np.bincount(part_of.ravel(), weights=in_front.ravel(), minlength=count).argmax()


def _mean_shift(points_m: np.ndarray, centre_m: np.ndarray, config: BlobConfig) -> np.ndarray:
    for _ in range(config.max_moves):
        near = (np.abs(points_m - centre_m) < config.window_m / 2).all(axis=1)
        moved_m = points_m[near].mean(axis=0) if near.any() else centre_m
        if np.abs(moved_m - centre_m).max() < _CONVERGED_M:
            return moved_m
        centre_m = moved_m
    return centre_m


def _points(depth_m: np.ndarray, mask: np.ndarray, K: np.ndarray) -> np.ndarray:
    """(N, 3) metres: the mask's pixels in the camera frame."""
    v, u = np.nonzero(mask)
    rays = np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).astype(np.float64)
    return (rays * depth_m[mask]).T


def _inside_box(shape: tuple[int, ...], box_xyxy: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box_xyxy
    v, u = np.ogrid[: shape[0], : shape[1]]
    return (u >= x0) & (u <= x1) & (v >= y0) & (v <= y1)


def _no_surface(measured_m: np.ndarray, area_m2: float, config: BlobConfig) -> str:
    if not measured_m.size:
        return "the frame has no depth at all"
    return (
        f"{area_m2 * _CM2:.1f} cm2 of surface between {config.near_m} and {config.far_m} m, where hands are "
        f"searched for; {config.min_area_m2 * _CM2:.0f} are needed; depth runs from "
        f"{measured_m.min():.3g} to {measured_m.max():.3g} m: check its unit, or give another range, box or file of "
        "centres"
    )
