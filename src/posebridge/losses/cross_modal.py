"""Cross-modal consistency of a 2D hand pose and a mask (SemiHand; Eq. 6.11 to 6.14 of Yang's dissertation, 2022).

Both terms compare the union of the pose's circles with the mask. Masks get no gradient (Eq. 6.11), so that inaccurate
poses don't spoil them.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def model_to_data(covered: Float[Tensor, "B h w"], mask: Float[Tensor, "B h w"]) -> Float[Tensor, "B"]:
    """Sum over cells of the difference between rendered circles and mask, both in [0, 1] (Eq. 6.12)."""
    return (covered - mask.detach()).abs().sum(dim=(-2, -1))


def data_to_model(distance: Float[Tensor, "B h w"], mask: Float[Tensor, "B h w"]) -> Float[Tensor, "B"]:
    """Sum over cells of the distance by which circles and mask disagree (Eq. 6.13 and 6.14).

    ``distance`` is signed, negative inside of a circle. Cells of the mask (above 1/2) count outside of all circles,
    other cells inside of one.
    """
    inside = mask.detach() > 0.5
    return torch.where(inside, distance, -distance).clamp_min(0).sum(dim=(-2, -1))
