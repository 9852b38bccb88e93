"""Inline SVG: axes with round ticks, lines, text and images. Colours come from the style sheet of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]
_ROUND_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axis:
    """A linear map from values to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float
    step: float | None = None  # between ticks; None chooses a round one

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start_px + (value - self.low) / (self.high - self.low) * (self.end_px - self.start_px)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the axis, about as many as given unless the axis has a step."""
        step = self.step or _round_step((self.high - self.low) / about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def axis_over(values: Sequence[float], start_px: float, end_px: float) -> Axis:
    """An axis over all finite values, with round ends."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    step = _round_step((high - low) / 4)
    return Axis(math.floor(low / step) * step, math.ceil(high / step) * step, start_px, end_px, step)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step for step in _ROUND_STEPS if raw <= step * power * (1 + 1e-9)) * power


def short(value: float) -> str:
    """A number in few characters: 12000 as 12k, otherwise three digits; n/a where it isn't finite."""
    if not math.isfinite(value):
        return "n/a"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}" if abs(value) < 1e3 else f"{value:.0f}"


class Canvas:
    """An SVG drawing. All texts and attributes are escaped."""

    def __init__(self, width: float, height: float, kind: str = "chart"):
        self.width, self.height, self.kind = width, height, kind
        self._parts: list[Markup] = []

    def line(self, a: Point, b: Point, **style: str | float) -> None:
        """Add a straight line."""
        self._add("line", x1=a[0], y1=a[1], x2=b[0], y2=b[1], **style)

    def path(self, points: Sequence[Point], **style: str | float) -> None:
        """Add a line through points, with a gap where one isn't finite."""
        commands, pen_down = [], False
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                commands.append(f"{'L' if pen_down else 'M'}{x:.2f} {y:.2f}")
                pen_down = True
            else:
                pen_down = False
        if commands:
            self._add("path", d="".join(commands), fill="none", **style)

    def rect(self, corner: Point, size: Point, **style: str | float) -> None:
        """Add a rectangle by its top-left corner and its size."""
        self._add("rect", x=corner[0], y=corner[1], width=size[0], height=size[1], **style)

    def circle(self, centre: Point, radius: float, **style: str | float) -> None:
        """Add a disc."""
        self._add("circle", cx=centre[0], cy=centre[1], r=radius, **style)

    def image(self, data_uri: str, size: Point) -> None:
        """Add a picture of this size at the top left."""
        self._add("image", href=data_uri, x=0, y=0, width=size[0], height=size[1])

    def text(self, at: Point, content: str, anchor: str = "start", **style: str | float) -> None:
        """Add text, vertically centred on a point."""
        attributes = _attributes({"x": at[0], "y": at[1], "text-anchor": anchor, "dy": "0.35em", **style})
        self._parts.append(Markup("<text{}>{}</text>").format(attributes, content))

    def markup(self, alt: str) -> Markup:
        """The drawing as markup, with a description for screen readers."""
        body = Markup("").join(self._parts)
        template = (
            '<svg class="{}" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
            "{}</svg>"
        )
        return Markup(template).format(self.kind, self.width, self.height, alt, body)

    def _add(self, element: str, **attributes: str | float) -> None:
        self._parts.append(Markup("<{}{}/>").format(element, _attributes(attributes)))


def _attributes(attributes: dict[str, str | float]) -> Markup:
    """Attributes as markup; ``class_`` and ``stroke_width`` become ``class`` and ``stroke-width``."""
    pairs = []
    for name, value in attributes.items():
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        pairs.append(Markup(' {}="{}"').format(escape(name.rstrip("_").replace("_", "-")), shown))
    return Markup("").join(pairs)
