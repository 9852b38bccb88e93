"""Depth crops as images, for networks that take RGB."""

from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.cube import normalise_depth


def depth_image(
    depth_m: Float[Tensor, "B H W"], centre_m: Float[Tensor, "B 3"], cube_m: float
) -> Float[Tensor, "B 3 H W"]:
    """Proximity in [0, 1], repeated in three channels.

    1 at the front of the cube and before it, 0 at its back, beyond it and for missing depth. Stored as 8 bits, a cube
    of 250 mm is quantised to 1 mm.
    """
    proximity = (1 - normalise_depth(depth_m, centre_m, cube_m)) / 2
    return proximity[:, None].expand(-1, 3, -1, -1)
