"""Bones as soft lines on a grid, and the affine maps between the bones of two images.

Lin et al., NeurIPS 2023, Sec. 3.3.2, Eq. 6 and 7. Positions (u, v) are in pixels of the grid; the centre of its
top-left pixel is (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.geometry.ellipses import ellipse_map, segment_moments


@dataclass(frozen=True)
class BoneMaps:
    """The bones of B poses, each as a soft line."""

    maps: Float[Tensor, "B J H W"]  # Eq. 6, in (0, 1]
    centre: Float[Tensor, "B J 2"]  # mu_j
    direction: Float[Tensor, "B J 2"]  # from parent to child
    moments: Float[Tensor, "B J 2 2"]  # second moments around the centre, per mass


def draw_bones(
    joints: Float[Tensor, "B K 2"], bones: Sequence[tuple[int, int]], height: int, width: int, sigma: float
) -> BoneMaps:
    """Bone maps of poses, for bones given as (parent, child); maps fall to 1/e at a distance of ``sigma`` ** 2 px.

    Moments (Eq. 7) are those of a segment with standard deviation ``sigma`` across it. Moments of the map would include
    its flanks, which don't grow with the bone, so that the map of a short bone would hardly follow a joint.
    """
    parent, child = (joints[:, list(ends)] for ends in zip(*bones, strict=True))
    maps = torch.exp(-distance_to_segments(parent, child, height, width) / sigma**2)  # Eq. 6
    direction = child - parent
    return BoneMaps(maps, (parent + child) / 2, direction, segment_moments(direction, sigma))


def distance_to_segments(
    start: Float[Tensor, "B J 2"], end: Float[Tensor, "B J 2"], height: int, width: int
) -> Float[Tensor, "B J H W"]:
    """Distance of every pixel to each segment, in pixels; gradients are finite, also for segments of no length."""
    u = torch.arange(width, dtype=start.dtype, device=start.device)
    v = torch.arange(height, dtype=start.dtype, device=start.device)[:, None]
    along, middle = end - start, (start + end) / 2
    # Relative to the middle, so that both ends are treated alike; u and v apart, as a tensor (..., H, W, 2) would take
    # twice the memory.
    du, dv = u - middle[..., 0, None, None], v - middle[..., 1, None, None]
    eu, ev = along[..., 0, None, None], along[..., 1, None, None]
    t = ((du * eu + dv * ev) / (eu.square() + ev.square()).clamp_min(1e-6)).clamp(-0.5, 0.5)
    squared = (du - t * eu).square() + (dv - t * ev).square()
    return (squared + 1e-6).sqrt() - 1e-3


def bone_transforms(onto: BoneMaps, of: BoneMaps) -> tuple[Float[Tensor, "B J 2 2"], Float[Tensor, "B J 2"]]:
    """Matrix A and vector t of each bone, mapping positions of the image ``of`` to the image ``onto``: p -> A p + t.

    They are A^{onto <- ref} (A^{of <- ref})^{-1} of Sec. 3.3.2.
    """
    A = ellipse_map((onto.moments, onto.direction), (of.moments, of.direction))
    return A, onto.centre - (A @ of.centre[..., None])[..., 0]
