"""Driving frames redrawn from base frames, side by side with what the redrawing was made of."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from posebridge.contracts.record import Record, Redrawing
from posebridge.report.fields import (
    FULL_DIFFERENCE,
    difference,
    longest_way_px,
    ramp,
    region_colours,
    way_colours,
    wheel,
)
from posebridge.report.figures import family
from posebridge.report.gallery import place, segments
from posebridge.report.pictures import light_jpeg_uri, png_uri
from posebridge.report.svg import Canvas, Point

MOVED_PX = 1.0  # shorter moves of a joint get no arrow
_DIFFERENCE_PX = 128  # the longest side of a picture of differences


@dataclass(frozen=True)
class Panel:
    """One picture of a pair."""

    title: str
    drawing: Markup


@dataclass(frozen=True)
class RedrawnPair:
    """All pictures of a pair, and numbers about them."""

    redrawing: Redrawing
    panels: tuple[Panel, ...]
    facts: tuple[tuple[str, str], ...]  # what, how much


@dataclass(frozen=True)
class RedrawnFrames:
    """All pairs, and the keys to read their pictures by."""

    pairs: tuple[RedrawnPair, ...]
    longest_px: int  # what full colour stands for, in every displacement field
    moved_px: float
    has_truth: bool
    wheel: Markup
    difference: Markup
    inpainting: Markup


def redrawn_frames(record: Record) -> RedrawnFrames:
    """The pairs that a record carries."""
    longest_px = longest_way_px(record.redrawings)
    return RedrawnFrames(
        pairs=tuple(
            RedrawnPair(drawn, _panels(drawn, record, longest_px), _facts(drawn)) for drawn in record.redrawings
        ),
        longest_px=longest_px,
        moved_px=MOVED_PX,
        has_truth=any(drawn.uv_truth is not None for drawn in record.redrawings),
        wheel=wheel(longest_px),
        difference=ramp("none", f"{FULL_DIFFERENCE} of 255 and more"),
        inpainting=ramp("painted anew", "from the base frame"),
    )


def _panels(drawn: Redrawing, record: Record, longest_px: int) -> tuple[Panel, ...]:
    names, bones = record.joint_names, record.bones
    apart = difference(drawn.redrawn, drawn.driving)
    regions = region_colours(drawn.regions, bones, names)
    ways = way_colours(drawn.displacement_px, longest_px)
    key = drawn.driving_key
    return (
        Panel("Base frame", _base(drawn, names, bones)),
        Panel("Driving frame", _driving(drawn, names, bones)),
        Panel("ReconstructedFrames", _picture(drawn.redrawn, light_jpeg_uri(drawn.redrawn), f"Frame {key}, redrawn")),
        Panel(
            "Difference", _picture(apart, light_jpeg_uri(apart, _DIFFERENCE_PX), f"Where the redrawing of {key} is off")
        ),
        Panel("Regions", _picture(regions, png_uri(regions), f"Regions of {key} that move with each bone")),
        Panel("Displacement", _picture(ways, png_uri(ways), f"Displacement field of {key}")),
        Panel("Inpainting", _picture(drawn.inpainting, png_uri(drawn.inpainting), f"Inpainting map of {key}")),
    )


def _picture(image: np.ndarray, uri: str, alt: str) -> Markup:
    height, width = image.shape[:2]
    canvas = Canvas(width, height, "overlay")
    canvas.image(uri, (width, height))
    return canvas.markup(alt)


def _base(drawn: Redrawing, names: tuple[str, ...], bones: tuple[tuple[int, int], ...]) -> Markup:
    height, width = drawn.base.shape[:2]
    canvas = Canvas(width, height, "overlay")
    canvas.image(light_jpeg_uri(drawn.base), (width, height))
    _bones(canvas, drawn.uv_base, names, bones)
    _joints(canvas, drawn.uv_base, names)
    return canvas.markup(f"Base frame {drawn.base_key} with the joints predicted in it")


def _driving(drawn: Redrawing, names: tuple[str, ...], bones: tuple[tuple[int, int], ...]) -> Markup:
    """Joints at the end in colour, arrows to them from where they were, crosses on the truth."""
    height, width = drawn.driving.shape[:2]
    side = max(width, height)
    canvas = Canvas(width, height, "overlay")
    canvas.image(light_jpeg_uri(drawn.driving), (width, height))
    if drawn.uv_truth is not None:
        for style in ("cross-halo", "cross"):
            for joint in drawn.uv_truth[np.isfinite(drawn.uv_truth).all(-1)]:
                _cross(canvas, place(joint), 0.012 * side, style)
    _bones(canvas, drawn.uv_after, names, bones)
    moved = _moved(drawn)
    for style in ("arrow-halo", "arrow"):
        for joint in np.flatnonzero(moved):
            _arrow(canvas, place(drawn.uv_before[joint]), place(drawn.uv_after[joint]), 0.04 * side, style)
    _joints(canvas, drawn.uv_after, names)
    return canvas.markup(
        f"Driving frame {drawn.driving_key} with its joints at the end; {moved.sum()} of {len(names)} moved by more "
        f"than {MOVED_PX:g} px since reconstruction took part"
    )


def _bones(canvas: Canvas, uv: np.ndarray, names: tuple[str, ...], bones: tuple[tuple[int, int], ...]) -> None:
    for child, a, b in segments(uv, bones):
        canvas.line(a, b, class_=f"thin bone stroke-{family(names[child])}")


def _joints(canvas: Canvas, uv: np.ndarray, names: tuple[str, ...]) -> None:
    for name, joint in zip(names, uv, strict=True):
        if np.isfinite(joint).all():
            canvas.circle(place(joint), max(canvas.width, canvas.height) * 0.011, class_=f"fill-{family(name)}")


def _arrow(canvas: Canvas, start: Point, end: Point, head: float, style: str) -> None:
    """A line whose head is ``head`` long, less where the arrow is short."""
    way = np.subtract(end, start)
    length = float(np.hypot(*way))
    back = -way / length * min(head, 0.6 * length)
    across = 0.5 * np.array([-back[1], back[0]])
    one, other = (np.add(end, back) + side * across for side in (1, -1))
    lift = (float("nan"), float("nan"))
    canvas.path([start, end, lift, (one[0], one[1]), end, (other[0], other[1])], class_=style)


def _cross(canvas: Canvas, at: Point, reach: float, style: str) -> None:
    (x, y), lift = at, (float("nan"), float("nan"))
    rising = [(x - reach, y + reach), (x + reach, y - reach)]
    canvas.path([(x - reach, y - reach), (x + reach, y + reach), lift, *rising], class_=style)


def _moved(drawn: Redrawing) -> np.ndarray:
    """Which joints moved; those that are missing on one side didn't."""
    return np.linalg.norm(drawn.uv_after - drawn.uv_before, axis=-1) > MOVED_PX


def _facts(drawn: Redrawing) -> tuple[tuple[str, str], ...]:
    both = np.isfinite([drawn.uv_before, drawn.uv_after]).all((0, 2))
    facts = [("joints that moved", f"{_moved(drawn).sum()} of {both.sum()}")]
    if drawn.uv_truth is not None:
        told = both & np.isfinite(drawn.uv_truth).all(-1)
        if told.any():
            before, after = (
                np.linalg.norm((uv - drawn.uv_truth)[told], axis=-1).mean() for uv in (drawn.uv_before, drawn.uv_after)
            )
            facts.append(("joint error, px", f"{before:.1f} → {after:.1f}"))
    base, redrawn = (np.abs(image.astype(float) - drawn.driving).mean() for image in (drawn.base, drawn.redrawn))
    facts.append(("base frame is off by", f"{base:.1f}"))
    facts.append(("redrawing is off by", f"{redrawn:.1f}"))
    facts.append(("painted anew", f"{100 * (1 - drawn.inpainting.mean() / 255):.0f}%"))
    return tuple(facts)
