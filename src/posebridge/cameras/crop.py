"""Pixel maps (crop, flip, resize) and the warping of images by them.

A map ``T_out_in`` is a 3x3 matrix with last row (0, 0, 1) that maps pixels of the image ``in`` to pixels of the image
``out``. As in ``pinhole.py``, the centre of the top-left pixel is (0, 0), so an image of width W covers
[-0.5, W - 0.5]. Maps compose by ``@``; ``Camera.warped`` applies them to intrinsics.
"""

import math
from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

Interpolation = Literal["linear", "nearest"]
PaddingMode = Literal["zeros", "border", "reflection"]

_OPENCV_SIDE_LIMIT = 32766  # OpenCV's warps index pixels by 16 bits
_FINE_PIXELS = 1 << 25  # samples of an output that are in memory at once


def crop_map(
    box_xyxy: Float[Tensor, "B 4"],
    size_px: int,
    padding: float = 1.0,
    mirror: bool | Bool[Tensor, "B"] = False,
) -> Float[Tensor, "B 3 3"]:
    """T_crop_file, which maps a square around each box to ``size_px`` x ``size_px`` pixels.

    The square has the centre of the box; its side is the larger side of the box times ``padding``. A box covers
    [x0, x1] x [y0, y1] in continuous pixel coordinates. ``mirror`` exchanges left and right of the crop, so the
    determinant is negative. Raises ``ValueError`` for an empty box.
    """
    centre = (box_xyxy[:, :2] + box_xyxy[:, 2:]) / 2
    side = (box_xyxy[:, 2:] - box_xyxy[:, :2]).amax(dim=1) * padding
    if not bool((side > 0).all()):
        raise ValueError("a box to crop is empty: its width and height must be above 0")
    scale_y = size_px / side
    scale_x = torch.where(torch.as_tensor(mirror, device=side.device), -scale_y, scale_y)
    scale = torch.stack([scale_x, scale_y], dim=1)
    return _affine(torch.diag_embed(scale), (size_px - 1) / 2 - scale * centre)


def full_image_box(width_px: int, height_px: int) -> Float[Tensor, "1 4"]:
    """The box of a full image; ``crop_map`` turns it into a letterboxed square."""
    return torch.tensor([[-0.5, -0.5, width_px - 0.5, height_px - 0.5]], dtype=torch.float64)


def flip_map(width_px: int) -> Float[Tensor, "1 3 3"]:
    """The horizontal flip u' = W - 1 - u, which is its own inverse."""
    return _affine(torch.diag(torch.tensor([-1.0, 1.0]))[None], torch.tensor([[width_px - 1.0, 0.0]]))


def resize_map(scale_x: float, scale_y: float | None = None) -> Float[Tensor, "1 3 3"]:
    """The resize by the given factors: u' = s (u + 1/2) - 1/2."""
    scale = torch.tensor([[scale_x, scale_x if scale_y is None else scale_y]])
    return _affine(torch.diag_embed(scale), (scale - 1) / 2)


def inverse_map(T_out_in: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """T_in_out in closed form; its last row is exactly (0, 0, 1)."""
    a, b, c, d = T_out_in[:, :2, :2].flatten(1).unbind(1)
    adjugate = torch.stack([torch.stack([d, -b], dim=1), torch.stack([-c, a], dim=1)], dim=1)
    linear = adjugate / (a * d - b * c)[:, None, None]
    return _affine(linear, -(linear @ T_out_in[:, :2, 2:])[..., 0])


def _affine(linear: Shaped[Tensor, "B 2 2"], shift: Float[Tensor, "B 2"]) -> Float[Tensor, "B 3 3"]:
    last_row = linear.new_tensor([[[0.0, 0.0, 1.0]]]).expand(len(linear), 1, 3)
    return torch.cat([torch.cat([linear, shift[..., None]], dim=2), last_row], dim=1)


def warp_images(
    images: Float[Tensor, "B C H W"],
    T_out_in: Float[Tensor, "B 3 3"],
    height_px: int,
    width_px: int,
    padding_mode: PaddingMode = "zeros",
    interpolation: Interpolation = "linear",
    antialias: bool = True,
) -> Float[Tensor, "B C height width"]:
    """Images warped by pixel maps, differentiable in images and maps.

    With ``antialias``, each output pixel is the mean of m x m bilinear samples, where m is the largest downscaling
    factor in the batch, rounded up. Computing m synchronises with the device.
    """
    T_in_out = inverse_map(T_out_in)
    m = _samples_per_side(T_in_out.detach()) if antialias and interpolation == "linear" else 1
    u = (torch.arange(width_px * m, device=images.device, dtype=images.dtype) + 0.5) / m - 0.5
    v = (torch.arange(height_px * m, device=images.device, dtype=images.dtype) + 0.5) / m - 0.5
    # grid_sample's coordinates (2 u_in + 1) / size - 1; an affine map of a grid is a sum over its columns and rows.
    T, size = T_in_out.to(images.dtype), images.new_tensor([images.shape[3], images.shape[2]])
    A = T[:, :2, :2] * (2 / size)[:, None]
    b = (2 * T[:, :2, 2] + 1) / size - 1
    rows = v[:, None] * A[:, None, :, 1] + b[:, None]  # B height 2
    grid = u[:, None] * A[:, None, None, :, 0] + rows[:, :, None]
    mode = "bilinear" if interpolation == "linear" else "nearest"
    warped = F.grid_sample(images, grid, mode=mode, padding_mode=padding_mode, align_corners=False)
    return F.avg_pool2d(warped, m) if m > 1 else warped


def _samples_per_side(T_in_out: Float[Tensor, "B 3 3"]) -> int:
    """Largest downscaling factor of the batch, rounded up."""
    stretch = torch.linalg.matrix_norm(T_in_out[:, :2, :2].double().cpu(), ord=2).max().item()
    return max(1, math.ceil(stretch - 1e-3))


def warp_array(
    image: np.ndarray, T_out_in: np.ndarray, height_px: int, width_px: int, interpolation: Interpolation = "linear"
) -> np.ndarray:
    """``warp_images`` for one array (H, W) or (H, W, C) of a type that OpenCV supports, zero outside; fast twin.

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
    T_fine_in = resize_map(m)[0].double().numpy() @ T_out_in
    fine = cv2.warpAffine(image, T_fine_in[:2], (width_px * m, height_px * m), flags=cv2.INTER_LINEAR)
    return cv2.resize(fine, (width_px, height_px), interpolation=cv2.INTER_AREA) if m > 1 else fine
