"""Maps over a picture as colours: where pixels come from, which bone they move with; and the keys to read them by."""

import functools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from posebridge.contracts.record import Redrawing
from posebridge.report.figures import family
from posebridge.report.pictures import png_uri
from posebridge.report.svg import Canvas

FULL_DIFFERENCE = 100  # of 255: two pixels that differ by more look the same in a picture of differences

_STYLE = Path(__file__).parent / "templates" / "style.css"
_BACKGROUND = (22, 32, 42)
_LIGHTER = 0.45  # how far every other bone along a limb is moved towards white
_UNKNOWN = 128  # grey, where a way isn't finite
_WHEEL_SIDE = 96
_RAMP_STEPS = 24


def longest_way_px(redrawings: Sequence[Redrawing]) -> int:
    """The length that full colour stands for: of all ways in all fields, two in a hundred are longer."""
    ways = [np.linalg.norm(redrawing.displacement_px, axis=-1).ravel() for redrawing in redrawings]
    finite = [length[np.isfinite(length)] for length in ways]
    return max(1, math.ceil(np.percentile(np.concatenate([[0.0], *finite]), 98)))


def way_colours(way: np.ndarray, longest: float) -> np.ndarray:
    """Ways (h, w, 2) right and down as colours (h, w, 3) uint8: hue by direction, from white at none to full colour."""
    angle = np.arctan2(way[..., 1], way[..., 0])[..., None]
    strength = np.minimum(np.linalg.norm(way, axis=-1, keepdims=True) / longest, 1)
    full = 0.5 + 0.5 * np.cos(angle - np.deg2rad([0, 120, 240]))
    colours = 255 * (1 - strength * (1 - full))
    return np.where(np.isfinite(colours), colours, _UNKNOWN).round().astype(np.uint8)


def region_colours(regions: np.ndarray, bones: Sequence[tuple[int, int]], joint_names: Sequence[str]) -> np.ndarray:
    """Masks (J + 1, h, w) uint8 as one picture (h, w, 3) uint8: their colours, mixed by how much each takes part.

    The background is dark. A bone has the colour of its finger or side, every other one along a limb a lighter shade.
    """
    depth = _depths(bones)
    colours = np.array([_BACKGROUND, *(_family_colours()[family(joint_names[child])] for _, child in bones)], float)
    lighter = np.array([0.0, *(_LIGHTER * (depth[child] % 2 == 0) for _, child in bones)])[:, None]
    shares = regions.astype(float)
    total = shares.sum(0)
    shares[0] += total == 0
    mixed = np.tensordot(shares, colours + lighter * (255 - colours), axes=(0, 0)) / np.maximum(total, 1)[..., None]
    return mixed.round().astype(np.uint8)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How much two pictures (H, W, 3) uint8 differ, (H, W) uint8: white from FULL_DIFFERENCE, mean of the channels."""
    apart = np.abs(one.astype(float) - other).mean(-1)
    return (255 * np.minimum(apart / FULL_DIFFERENCE, 1)).round().astype(np.uint8)


def wheel(longest_px: int) -> Markup:
    """The key to ``way_colours``: the colour at a place is that of the way from the centre to there."""
    v, u = (np.mgrid[:_WHEEL_SIDE, :_WHEEL_SIDE] + 0.5) * 2 / _WHEEL_SIDE - 1
    radius = np.hypot(u, v)
    edge = np.clip((1 - radius) * _WHEEL_SIDE / 2, 0, 1)  # a pixel wide, so that the rim is smooth
    opacity = (255 * edge).round().astype(np.uint8)[..., None]
    canvas = Canvas(_WHEEL_SIDE + 64, _WHEEL_SIDE, "field-key wheel")
    colours = way_colours(np.stack([u, v], -1), 1.0)
    canvas.image(png_uri(np.concatenate([colours, opacity], -1)), (_WHEEL_SIDE, _WHEEL_SIDE))
    middle = _WHEEL_SIDE / 2
    canvas.line((middle, middle), (_WHEEL_SIDE, middle), class_="reach")
    canvas.text((_WHEEL_SIDE + 8, middle), f"{longest_px} px", class_="tick")
    return canvas.markup(f"Colour wheel: hue is the direction, full colour at the rim stands for {longest_px} px")


def ramp(black: str, white: str) -> Markup:
    """The key to a grey map: what its ends mean."""
    canvas = Canvas(240, 40, "field-key")
    for i in range(_RAMP_STEPS):
        grey = round(255 * i / (_RAMP_STEPS - 1))
        canvas.rect((10 * i, 0), (10.5 if i < _RAMP_STEPS - 1 else 10, 16), fill=f"rgb({grey},{grey},{grey})")
    canvas.rect((0, 0), (240, 16), class_="frame")
    canvas.text((0, 29), black, class_="tick")
    canvas.text((240, 29), white, "end", class_="tick")
    return canvas.markup(f"Black: {black}; white: {white}")


def _depths(bones: Sequence[tuple[int, int]]) -> dict[int, int]:
    """How many bones lie between each joint and the root."""
    parent_of = {child: parent for parent, child in bones}
    depths = {}
    for joint in parent_of:
        depth, at = 0, joint
        while at in parent_of and depth < len(bones):
            depth, at = depth + 1, parent_of[at]
        depths[joint] = depth
    return depths


@functools.cache
def _family_colours() -> dict[str, tuple[int, ...]]:
    """The colours that the style sheet gives to skeletons."""
    named = re.findall(r"--(\w+): #([0-9a-f]{6})", _STYLE.read_text(encoding="utf-8"))
    return {name: tuple(bytes.fromhex(digits)) for name, digits in named}
