"""Visible joints: those inside the image and not occluded."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def visible_joints(
    joints_m: Float[Tensor, "B J 3"],
    uv_px: Float[Tensor, "B J 2"],
    depth_m: Float[Tensor, "B H W"],
    joint_depth_m: Float[Tensor, "J"],
    occluder_mask: Bool[Tensor, "B H W"] | None = None,
) -> Bool[Tensor, "B J"]:
    """True for joints at most ``joint_depth_m`` behind the surface at their pixel and not under an occluder.

    ``depth_m`` is the depth of the nearest surface, 0 without a surface; ``occluder_mask`` is true
    where an occluder covers the scene.
    """
    height, width = depth_m.shape[1:]
    inside = ((uv_px > -0.5) & (uv_px < uv_px.new_tensor([width - 0.5, height - 0.5]))).all(-1)
    column = uv_px[..., 0].round().long().clamp(0, width - 1)
    row = uv_px[..., 1].round().long().clamp(0, height - 1)
    sample = torch.arange(len(uv_px), device=uv_px.device)[:, None]
    surface_m = depth_m[sample, row, column]
    seen = inside & ~((surface_m > 0) & (joints_m[..., 2] - surface_m > joint_depth_m))
    return seen if occluder_mask is None else seen & ~occluder_mask[sample, row, column]
