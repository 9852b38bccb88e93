"""Distance of 2.5D poses (SemiHand, Yang et al., ICCV 2021; Eq. 6.2 of Yang's dissertation, 2022)."""

from jaxtyping import Float
from torch import Tensor


def pose_distance(
    uv_map: Float[Tensor, "B J 2"],
    depth: Float[Tensor, "B J"],
    other_uv_map: Float[Tensor, "B J 2"],
    other_depth: Float[Tensor, "B J"],
    depth_weight: float = 50.0,
) -> Float[Tensor, "B J"]:
    """Squared distance in the image plus ``depth_weight`` (lambda_d) times the squared difference in depth, per joint.

    The paper's weight and its threshold of 1.5 are of positions in pixels of a 64 px map, and of depth in reference
    bones.
    """
    return (uv_map - other_uv_map).square().sum(dim=-1) + depth_weight * (depth - other_depth).square()
