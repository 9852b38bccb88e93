"""Pixel maps of batches (flip, resize, inverse) and the warping of batches of images by them, on any device.

Maps are those of ``pixel_maps``, which has the twins for single frames in numpy.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from posebridge.cameras.pixel_maps import Interpolation

PaddingMode = Literal["zeros", "border", "reflection"]


def flip_map(width_px: int) -> Float[Tensor, "1 3 3"]:
    """The horizontal flip u' = W - 1 - u, which is its own inverse."""
    return affine_map(torch.diag(torch.tensor([-1.0, 1.0]))[None], torch.tensor([[width_px - 1.0, 0.0]]))


def resize_map(scale_x: float, scale_y: float | None = None) -> Float[Tensor, "1 3 3"]:
    """The resize by the given factors: u' = s (u + 1/2) - 1/2."""
    scale = torch.tensor([[scale_x, scale_x if scale_y is None else scale_y]])
    return affine_map(torch.diag_embed(scale), (scale - 1) / 2)


def inverse_map(T_out_in: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """T_in_out in closed form; its last row is exactly (0, 0, 1)."""
    a, b, c, d = T_out_in[:, :2, :2].flatten(1).unbind(1)
    adjugate = torch.stack([torch.stack([d, -b], dim=1), torch.stack([-c, a], dim=1)], dim=1)
    linear = adjugate / (a * d - b * c)[:, None, None]
    # Not as a matrix product, which autocast would round to half precision.
    return affine_map(linear, -(linear * T_out_in[:, None, :2, 2]).sum(dim=2))


def affine_map(linear: Shaped[Tensor, "B 2 2"], shift: Float[Tensor, "B 2"]) -> Float[Tensor, "B 3 3"]:
    """The map of a linear part and a shift; its last row is exactly (0, 0, 1)."""
    last_row = linear.new_tensor([[[0.0, 0.0, 1.0]]]).expand(linear.shape[0], 1, 3)
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
