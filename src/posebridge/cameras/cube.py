"""The metric cube: depth frames cut to a cube of fixed size around a hand, and normalised by it.

A cube of side ``cube_m`` sits at ``centre_m`` in the camera frame, its faces along the axes. The crop shows its
cross-section at the centre's depth, so a hand has the same size in every crop, however far away it was. Depth and
points are normalised by the half side: -1 is the face towards the camera, +1 the one behind.

The convention of the depth literature (Oberweger et al., *Hands Deep in Deep Learning for Hand Pose Estimation*, CVWW
2015): what lies in front of the cube is moved onto its front, for it hides what is behind; what lies behind it, and
what the sensor missed, becomes its back, +1.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.pinhole import apply_affine

_BACK = 1.0


def cube_crop_map(
    centre_m: Float[Tensor, "B 3"], K: Float[Tensor, "B 3 3"], cube_m: float, size_px: int
) -> Float[Tensor, "B 3 3"]:
    """T_crop_file: the cube's cross-section at its centre's depth onto ``size_px`` x ``size_px`` pixels.

    Both axes are scaled on their own, so pixels of the crop are square in metres even where fx and fy differ. A
    negative focal length (NYU has one) keeps its sign: the map never mirrors, the crop's camera is T K. For a K with
    rotation or shear, the upright rectangle around the cross-section is taken.
    Raises ``ValueError`` for a centre at or behind the camera or not finite, and for a cube or size of zero or less.
    """
    if not (cube_m > 0 and size_px > 0):
        raise ValueError(f"a cube of {cube_m} m onto {size_px} px: both must be above zero")
    if not bool((torch.isfinite(centre_m).all(dim=1) & (centre_m[:, 2] > 0)).all()):
        raise ValueError("a cube's centre is at or behind the camera, or not finite")
    depth = centre_m[:, 2:]
    centre_px = apply_affine(K, (centre_m[:, :2] / depth)[:, None])[:, 0]
    side_px = K[:, :2, :2].abs().sum(dim=2) * cube_m / depth
    scale = size_px / side_px
    T_crop_file = torch.diag_embed(torch.cat([scale, torch.ones_like(depth)], dim=1))
    T_crop_file[:, :2, 2] = (size_px - 1) / 2 - scale * centre_px
    return T_crop_file


def normalise_depth(
    depth_m: Float[Tensor, "B H W"], centre_m: Float[Tensor, "B 3"], cube_m: float | Float[Tensor, "B 1 1"]
) -> Float[Tensor, "B H W"]:
    """(z - z0) / (cube / 2) in [-1, 1]; +1 where depth is missing (0) or beyond the cube, -1 in front of it."""
    relative = ((depth_m - centre_m[:, 2, None, None]) / (cube_m / 2)).clamp(-1, _BACK)
    return torch.where(depth_m > 0, relative, _BACK)


def foreground(
    depth_m: Float[Tensor, "B H W"], centre_m: Float[Tensor, "B 3"], cube_m: float | Float[Tensor, "B 1 1"]
) -> Bool[Tensor, "B H W"]:
    """Which pixels were measured between the cube's front and back: the mask that belongs to ``normalise_depth``."""
    return (depth_m > 0) & ((depth_m - centre_m[:, 2, None, None]).abs() < cube_m / 2)
