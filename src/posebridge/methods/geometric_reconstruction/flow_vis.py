"""Displacement fields, region masks and differences as colours, with the swatches of their legends."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from posebridge.skeletons.joint_colours import joint_rgb

FULL_DIFFERENCE = 100  # of 255: larger differences are drawn white

_BACKGROUND = (22, 32, 42)
_LIGHTER = 0.45  # how far every other bone of a limb is blended towards white
_UNKNOWN = 128  # grey, where a displacement isn't finite
_WHEEL_PX = 96
_RAMP_PX = (16, 240)  # height and width


def max_flow_px(fields: Sequence[Float[np.ndarray, "h w 2"]]) -> int:
    """The length drawn in full colour: the 98th percentile of all displacements of all fields, at least 1 px."""
    lengths = [np.linalg.norm(field, axis=-1).ravel() for field in fields]
    finite = [length[np.isfinite(length)] for length in lengths]
    return max(1, math.ceil(np.percentile(np.concatenate([[0.0], *finite]), 98)))


def flow_to_rgb(flow_px: Float[np.ndarray, "h w 2"], max_px: float) -> UInt8[np.ndarray, "h w 3"]:
    """Displacements as colours: the hue is the direction, from white at zero to full colour at ``max_px``."""
    angle = np.arctan2(flow_px[..., 1], flow_px[..., 0])[..., None]
    strength = np.minimum(np.linalg.norm(flow_px, axis=-1, keepdims=True) / max_px, 1)
    full = 0.5 + 0.5 * np.cos(angle - np.deg2rad([0, 120, 240]))
    colours = 255 * (1 - strength * (1 - full))
    return np.where(np.isfinite(colours), colours, _UNKNOWN).round().astype(np.uint8)


def flow_wheel() -> UInt8[np.ndarray, "h w 4"]:
    """The colours of ``flow_to_rgb`` as a disc, RGBA: each place has the colour of its offset from the centre."""
    v, u = (np.mgrid[:_WHEEL_PX, :_WHEEL_PX] + 0.5) * 2 / _WHEEL_PX - 1
    edge = np.clip((1 - np.hypot(u, v)) * _WHEEL_PX / 2, 0, 1)  # one pixel wide, so that the rim is smooth
    opacity = (255 * edge).round().astype(np.uint8)[..., None]
    return np.concatenate([flow_to_rgb(np.stack([u, v], -1), 1.0), opacity], -1)


def grey_ramp() -> UInt8[np.ndarray, "h w 3"]:
    """From black on the left to white on the right."""
    height, width = _RAMP_PX
    grey = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.broadcast_to(grey[None, :, None], (height, width, 3)).copy()


def regions_to_rgb(
    masks: UInt8[np.ndarray, "R h w"], bones: Sequence[tuple[int, int]], joint_names: Sequence[str]
) -> UInt8[np.ndarray, "h w 3"]:
    """Masks of the background and of each bone as one picture: their colours, blended by the masks.

    The background is dark. A bone has the colour of its finger or side; every other bone of a limb is lighter.
    """
    depth = _depths(bones)
    colours = np.array([_BACKGROUND, *(joint_rgb(joint_names[child]) for _, child in bones)], float)
    lighter = np.array([0.0, *(_LIGHTER * (depth[child] % 2 == 0) for _, child in bones)])[:, None]
    shares = masks.astype(float)
    total = shares.sum(0)
    shares[0] += total == 0
    blended = np.tensordot(shares, colours + lighter * (255 - colours), axes=(0, 0)) / np.maximum(total, 1)[..., None]
    return blended.round().astype(np.uint8)


def difference_map(
    image: UInt8[np.ndarray, "H W 3"], reference: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The absolute difference of two pictures, mean of the channels, as grey: white from FULL_DIFFERENCE."""
    difference = np.abs(image.astype(float) - reference).mean(-1)
    return as_rgb((255 * np.minimum(difference / FULL_DIFFERENCE, 1)).round().astype(np.uint8))


def as_rgb(grey: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """A grey map with three equal channels."""
    return np.repeat(grey[..., None], 3, axis=-1)


def _depths(bones: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The number of bones between each joint and the root."""
    parent_of = {child: parent for parent, child in bones}
    depths = {}
    for joint in parent_of:
        depth, at = 0, joint
        while at in parent_of and depth < len(bones):
            depth, at = depth + 1, parent_of[at]
        depths[joint] = depth
    return depths
