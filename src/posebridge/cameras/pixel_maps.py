"""Pixel maps of single frames (crop, flip, resize, orientation), and the warping of arrays by them. Free of torch.

A map ``T_out_in`` is a 3x3 matrix with last row (0, 0, 1) that maps pixels of the image ``in`` to pixels of the image
``out``. As in ``pinhole.py``, the centre of the top-left pixel is (0, 0), so an image of width W covers
[-0.5, W - 0.5]. Maps compose by ``@``; ``Camera.warped`` applies them to intrinsics. Maps are in double precision.

Orientation of stored pixels: a picture is brought upright in two steps. It is mirrored left-right where ``mirror`` is
set, then turned clockwise by ``turn`` quarter turns, as EXIF and the metadata of videos give them.
"""

import math
from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

Interpolation = Literal["linear", "nearest"]

_OPENCV_SIDE_LIMIT = 32766  # OpenCV's warps index pixels by 16 bits
_FINE_PIXELS = 1 << 25  # samples of an output that are in memory at once

# (turn, mirror) by the value of EXIF's tag 0x0112.
EXIF_ORIENTATIONS: dict[int, tuple[int, bool]] = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (1, False),
    7: (1, True),
    8: (3, False),
}


def crop_map(
    box_xyxy: Float[np.ndarray, "4"], size_px: int, padding: float = 1.0, mirror: bool = False
) -> Float[np.ndarray, "3 3"]:
    """T_crop_file, which maps a square around the box to ``size_px`` x ``size_px`` pixels.

    The square has the centre of the box; its side is the larger side of the box times ``padding``. A box covers
    [x0, x1] x [y0, y1] in continuous pixel coordinates. ``mirror`` exchanges left and right of the crop, so the
    determinant is negative. Raises ``ValueError`` for an empty box.
    """
    box = np.asarray(box_xyxy, dtype=np.float64)
    centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * padding
    if not side > 0:
        raise ValueError("a box to crop is empty: its width and height must be above 0")
    scale = size_px / side * np.array([-1.0 if mirror else 1.0, 1.0])
    return _scaling(scale, (size_px - 1) / 2 - scale * centre)


def full_image_box(width_px: int, height_px: int) -> Float[np.ndarray, "4"]:
    """The box of a full image; ``crop_map`` turns it into a letterboxed square."""
    return np.array([-0.5, -0.5, width_px - 0.5, height_px - 0.5])


def flip_map(width_px: int) -> Float[np.ndarray, "3 3"]:
    """The horizontal flip u' = W - 1 - u, which is its own inverse."""
    return _scaling(np.array([-1.0, 1.0]), np.array([width_px - 1.0, 0.0]))


def resize_map(scale_x: float, scale_y: float | None = None) -> Float[np.ndarray, "3 3"]:
    """The resize by the given factors: u' = s (u + 1/2) - 1/2."""
    scale = np.array([scale_x, scale_x if scale_y is None else scale_y], dtype=np.float64)
    return _scaling(scale, (scale - 1) / 2)


def _scaling(scale: Float[np.ndarray, "2"], shift: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3 3"]:
    T = np.diag([*scale, 1.0])
    T[:2, 2] = shift
    return T


def apply_map(T_out_in: Float[np.ndarray, "3 3"], uv: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "... 2"]:
    """Points of the image ``in`` as points of the image ``out``."""
    return uv @ T_out_in[:2, :2].T + T_out_in[:2, 2]


def upright_map(width_px: int, height_px: int, turn: int, mirror: bool) -> Float[np.ndarray, "3 3"]:
    """T_upright_file of a stored picture of that size."""
    T = flip_map(width_px) if mirror else np.eye(3)
    for i in range(turn % 4):
        side = height_px if i % 2 == 0 else width_px
        T = np.array([[0.0, -1.0, side - 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ T
    return T


def mapped_box(box_xyxy: Float[np.ndarray, "4"], T_out_in: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """The box x0 y0 x1 y1 after quarter turns and mirroring."""
    corners = apply_map(T_out_in, np.asarray(box_xyxy, dtype=np.float64).reshape(2, 2))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def upright_image(image: np.ndarray, turn: int, mirror: bool) -> np.ndarray:
    """The upright picture (h, w, ...) of stored pixels (H, W, ...)."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirror else image, -turn))


def stored_image(image: np.ndarray, turn: int, mirror: bool) -> np.ndarray:
    """The stored pixels (H, W, ...) of an upright picture (h, w, ...)."""
    turned_back = np.rot90(image, turn)
    return np.ascontiguousarray(turned_back[:, ::-1] if mirror else turned_back)


def warp_array(
    image: np.ndarray, T_out_in: np.ndarray, height_px: int, width_px: int, interpolation: Interpolation = "linear"
) -> np.ndarray:
    """``crop.warp_images`` for one array (H, W) or (H, W, C) of a type that OpenCV supports, zero outside; fast twin.

    Memory stays bounded for any image and map: of a large crop, only where the image lies is sampled, in bands.
    """
    if interpolation == "nearest":
        return cv2.warpAffine(image, T_out_in[:2], (width_px, height_px), flags=cv2.INTER_NEAREST)
    stretch = float(np.linalg.norm(np.linalg.inv(T_out_in)[:2, :2], ord=2))
    # A box may be a hundred times its image; beyond OpenCV's limit the image is only a few pixels of the crop.
    m = min(max(1, math.ceil(stretch - 1e-3)), _OPENCV_SIDE_LIMIT // max(height_px, width_px))
    if m * m * height_px * width_px <= _FINE_PIXELS:
        return _mean_of_samples(image, T_out_in, height_px, width_px, m)
    out = np.zeros((height_px, width_px, *image.shape[2:]), image.dtype)
    columns = _touched(image, T_out_in[0], width_px)
    rows = _touched(image, T_out_in[1], height_px) if columns else range(0)
    for band in _bands(rows, max(1, _FINE_PIXELS // (m * m * max(1, len(columns))))):
        T_part_in = T_out_in.copy()
        T_part_in[:2, 2] -= columns.start, band.start
        part = _mean_of_samples(image, T_part_in, len(band), len(columns), m)
        out[band.start : band.stop, columns.start : columns.stop] = part
    return out


def _touched(image: np.ndarray, row_of_map: np.ndarray, size_px: int) -> range:
    """The columns or rows of the output on which the image lies, by the row of the map that returns them."""
    height, width = image.shape[:2]
    corners = np.array([(u, v, 1) for u in (-0.5, width - 0.5) for v in (-0.5, height - 0.5)])
    places = corners @ row_of_map
    first, stop = np.clip([np.floor(places.min()) - 1, np.ceil(places.max()) + 2], 0, size_px)
    return range(int(first), int(stop))


def _bands(rows: range, length: int) -> Iterator[range]:
    return (range(first, min(first + length, rows.stop)) for first in range(rows.start, rows.stop, length))


def _mean_of_samples(image: np.ndarray, T_out_in: np.ndarray, height_px: int, width_px: int, m: int) -> np.ndarray:
    """The warped image, each of its pixels the mean of m x m bilinear samples."""
    T_fine_in = resize_map(m) @ T_out_in
    fine = cv2.warpAffine(image, T_fine_in[:2], (width_px * m, height_px * m), flags=cv2.INTER_LINEAR)
    return cv2.resize(fine, (width_px, height_px), interpolation=cv2.INTER_AREA) if m > 1 else fine
