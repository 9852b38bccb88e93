"""Displacement fields: for every pixel of one image its place in another (Lin et al., NeurIPS 2023, Eq. 8).

A field holds absolute places (u, v) in pixels of its own grid, whose top-left pixel has its centre at (0, 0) and which
covers the whole image: a field of another resolution is the same places under u' = s (u + 0.5) - 0.5.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def identity_field(height: int, width: int, like: Tensor) -> Float[Tensor, "H W 2"]:
    """Every pixel's own place."""
    v, u = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device),
        torch.arange(width, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    return torch.stack([u, v], dim=-1)


def affine_fields(
    A: Float[Tensor, "B J 2 2"], t: Float[Tensor, "B J 2"], height: int, width: int
) -> Float[Tensor, "B J H W 2"]:
    """Affine maps at every pixel: the coarse field of each region, A_j [p, 1]."""
    grid = identity_field(height, width, A)
    columns = A[..., None, None, :, 0] * grid[..., :1] + A[..., None, None, :, 1] * grid[..., 1:]
    return columns + t[..., None, None, :]


def blend_fields(masks: Float[Tensor, "B J H W"], coarse: Float[Tensor, "B J H W 2"]) -> Float[Tensor, "B H W 2"]:
    """Eq. 8: the regions' places, weighed by masks that sum to one over the regions."""
    return (masks[..., None] * coarse).sum(dim=1)


def resize_field(field: Float[Tensor, "B H W 2"], height: int, width: int) -> Float[Tensor, "B h w 2"]:
    """The same field on a finer or coarser grid, its places in pixels of that grid.

    What is interpolated is the displacement, which is continued over the outer halves of the border's pixels.
    """
    coarse_height, coarse_width = field.shape[1:3]
    if (coarse_height, coarse_width) == (height, width):
        return field
    moved = (field - identity_field(coarse_height, coarse_width, field)).permute(0, 3, 1, 2)
    finer = F.interpolate(moved, (height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return identity_field(height, width, field) + finer * field.new_tensor(
        [width / coarse_width, height / coarse_height]
    )


def sample_features(features: Float[Tensor, "B C H W"], field: Float[Tensor, "B h w 2"]) -> Float[Tensor, "B C h w"]:
    """Features at the places of a field, whose grid may be of another resolution; the border continues outwards.

    Computed in the precision of the field, which half precision would round to fractions of a pixel. NaN at places
    that are not finite.
    """
    # Both grids cover the same area, so a place's share of the side is the same on both.
    normalised = (2 * field + 1) / field.new_tensor([field.shape[2], field.shape[1]]) - 1
    # A NaN would pick a pixel of the border, and on a CPU its gradient ends the process (PyTorch issue 24823).
    known = normalised.isfinite().all(dim=-1)
    values, places = features.to(field.dtype), torch.where(known[..., None], normalised, 0)
    sampled = F.grid_sample(values, places, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(known[:, None], sampled, torch.nan)
