"""Displacement fields: for every pixel of one image its position in another (Lin et al., NeurIPS 2023, Eq. 8).

A field holds absolute positions (u, v) in pixels of its own grid. The grid covers the whole image; the centre of its
top-left pixel is (0, 0). Changing the resolution by s maps positions by u' = s (u + 0.5) - 0.5.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def identity_field(height: int, width: int, like: Tensor) -> Float[Tensor, "H W 2"]:
    """The field that maps every pixel to itself, with the dtype and device of ``like``."""
    v, u = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device),
        torch.arange(width, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    return torch.stack([u, v], dim=-1)


def affine_fields(
    A: Float[Tensor, "B J 2 2"], t: Float[Tensor, "B J 2"], height: int, width: int
) -> Float[Tensor, "B J H W 2"]:
    """Positions A p + t of every pixel p: the coarse field of each of J regions."""
    grid = identity_field(height, width, A)
    columns = A[..., None, None, :, 0] * grid[..., :1] + A[..., None, None, :, 1] * grid[..., 1:]
    return columns + t[..., None, None, :]


def blend_fields(masks: Float[Tensor, "B J H W"], coarse: Float[Tensor, "B J H W 2"]) -> Float[Tensor, "B H W 2"]:
    """The fields of the regions, weighted by masks that sum to one over the regions (Eq. 8)."""
    return (masks[..., None] * coarse).sum(dim=1)


def resize_field(field: Float[Tensor, "B H W 2"], height: int, width: int) -> Float[Tensor, "B h w 2"]:
    """The same field on a grid of another resolution, with positions in pixels of that grid.

    The displacement is interpolated, and extrapolated as a constant over the outer half of the border pixels.
    """
    coarse_height, coarse_width = field.shape[1:3]
    if (coarse_height, coarse_width) == (height, width):
        return field
    displacement = (field - identity_field(coarse_height, coarse_width, field)).permute(0, 3, 1, 2)
    finer = F.interpolate(displacement, (height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return identity_field(height, width, field) + finer * field.new_tensor(
        [width / coarse_width, height / coarse_height]
    )


def sample_features(features: Float[Tensor, "B C H W"], field: Float[Tensor, "B h w 2"]) -> Float[Tensor, "B C h w"]:
    """Features sampled bilinearly at the positions of a field; the border is repeated outside.

    The resolutions of features and field may differ. Computed in the precision of the field, as half precision would
    round positions to fractions of a pixel. NaN where a position is not finite.
    """
    # Both grids cover the same area, so normalised coordinates are the same on both.
    normalised = (2 * field + 1) / field.new_tensor([field.shape[2], field.shape[1]]) - 1
    # grid_sample maps NaN to a border pixel, and its CPU gradient crashes the process (PyTorch issue 24823).
    finite = normalised.isfinite().all(dim=-1)
    values, positions = features.to(field.dtype), torch.where(finite[..., None], normalised, 0)
    sampled = F.grid_sample(values, positions, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(finite[:, None], sampled, torch.nan)
