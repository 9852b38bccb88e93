"""Hands beside the depth that they should explain."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from posebridge.contracts.record import DepthFit, DepthHandPicture, Role
from posebridge.report.pictures import light_jpeg_uri
from posebridge.report.svg import Canvas

_LONGEST_PX = 960


@dataclass(frozen=True)
class DepthStrip:
    """One frame, before adaptation and after."""

    picture: DepthHandPicture
    before: Markup
    after: Markup


def depth_strips(pictures: tuple[DepthHandPicture, ...]) -> list[DepthStrip]:
    """The frames that a record carries."""
    return [
        DepthStrip(picture, _drawn(picture.before, picture.key, "before"), _drawn(picture.after, picture.key, "after"))
        for picture in pictures
    ]


def depth_verdict(fits: Mapping[Role, DepthFit]) -> str:
    """What a run without labels can say, in a sentence; empty where nothing was compared."""
    if not {"source_only", "adapted"} <= fits.keys():
        return ""
    before, after = fits["source_only"], fits["adapted"]
    if not (math.isfinite(before.apart_mm) and math.isfinite(after.apart_mm)):
        return ""
    return (
        f"The hand's mesh explains {100 * after.explained:.0f}% of the measured surface to a centimetre, and "
        f"{100 * before.explained:.0f}% before adaptation; where both are, it lies {after.apart_mm:.1f} mm from it, "
        f"{before.apart_mm:.1f} mm before."
    )


def _drawn(image, key: str, when: str) -> Markup:
    height, width = image.shape[:2]
    canvas = Canvas(width, height, "overlay")
    canvas.image(light_jpeg_uri(image, _LONGEST_PX), (width, height))
    return canvas.markup(f"Frame {key} {when} adaptation: joints over the depth, the mesh, and both from the side")
