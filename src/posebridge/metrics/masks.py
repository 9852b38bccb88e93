"""Agreement of foreground masks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mask_iou(predicted: Bool[Tensor, "B H W"], true: Bool[Tensor, "B H W"]) -> Float[Tensor, "B"]:
    """Intersection over union of each pair of masks, in [0, 1]; 1 where both are empty."""
    intersection = (predicted & true).sum((1, 2)).float()
    union = (predicted | true).sum((1, 2)).float()
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
