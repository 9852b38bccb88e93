"""Depth crops as pictures: what networks that read images are shown of a metric cube."""

from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.cube import normalise_depth


def depth_image(
    depth_m: Float[Tensor, "B H W"], centre_m: Float[Tensor, "B 3"], cube_m: float
) -> Float[Tensor, "B 3 H W"]:
    """Closeness in [0, 1], three times: 1 at the front of the cube, 0 at its back, beyond it and where none is known.

    Held as 8 bits, a cube of 250 mm has steps of 1 mm.
    """
    near = (1 - normalise_depth(depth_m, centre_m, cube_m)) / 2
    return near[:, None].expand(-1, 3, -1, -1)
