"""Rotations in the image plane, for tests of pixel maps."""

import torch
from torch import Tensor


def rotation_map(angle_rad: Tensor, centre_px: Tensor) -> Tensor:
    """Maps (B, 3, 3) that rotate by ``angle_rad`` (B,) about ``centre_px`` (B, 2), clockwise on the screen."""
    cos, sin = angle_rad.cos(), angle_rad.sin()
    R = torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)
    shift = centre_px - (R @ centre_px[..., None])[..., 0]
    last_row = R.new_tensor([[[0.0, 0.0, 1.0]]]).expand(len(R), 1, 3)
    return torch.cat([torch.cat([R, shift[..., None]], dim=2), last_row], dim=1)
