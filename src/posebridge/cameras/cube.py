"""Metric cubes around hands: crops of depth frames and normalisation of depth.

A cube of side ``cube_m`` is centred at ``centre_m`` in the camera frame, its faces parallel to the axes. The crop shows
its cross-section at the depth of the centre, so a hand has the same size at any distance. Depth is normalised by half
the side: -1 is the face towards the camera, +1 the opposite face.

Following the depth literature (Oberweger et al., *Hands Deep in Deep Learning for Hand Pose Estimation*, CVWW 2015),
depth in front of the cube is clamped to its front, as it occludes what is behind. Depth behind the cube and missing
depth become +1.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.cameras.pinhole import apply_affine

_BACK = 1.0


def cube_crop_map(
    centre_m: Float[Tensor, "B 3"], K: Float[Tensor, "B 3 3"], cube_m: float, size_px: int
) -> Float[Tensor, "B 3 3"]:
    """T_crop_file, which maps the cross-section of the cube at its centre to ``size_px`` x ``size_px`` pixels.

    Axes are scaled separately, so crop pixels are square in metres even if fx and fy differ. The map never mirrors: a
    negative focal length (NYU) keeps its sign in the crop's camera T K. For K with rotation or shear, the bounding
    rectangle of the cross-section is taken. Raises ``ValueError`` for a centre that isn't finite or not in front of the
    camera, and for a cube or size of zero or less.
    """
    if not (cube_m > 0 and size_px > 0):
        raise ValueError(f"a crop of {size_px} px of a cube of {cube_m} m is impossible: both must be above zero")
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
    """(z - z0) / (cube / 2) in [-1, 1]: +1 if depth is missing (0) or behind the cube, -1 in front of it."""
    relative = ((depth_m - centre_m[:, 2, None, None]) / (cube_m / 2)).clamp(-1, _BACK)
    return torch.where(depth_m > 0, relative, _BACK)


def foreground(
    depth_m: Float[Tensor, "B H W"], centre_m: Float[Tensor, "B 3"], cube_m: float | Float[Tensor, "B 1 1"]
) -> Bool[Tensor, "B H W"]:
    """Mask of pixels with measured depth between front and back of the cube; goes with ``normalise_depth``."""
    return (depth_m > 0) & ((depth_m - centre_m[:, 2, None, None]).abs() < cube_m / 2)
