"""A chart's canvas with two axes, grid, curves and labels."""

import math
from collections.abc import Mapping, Sequence

from posebridge.report.svg import Axis, Canvas, short

Series = Sequence[tuple[float, float]]


class Plot:
    """A canvas with an x axis and a y axis. Colours are names of classes in the style sheet."""

    def __init__(self, width: float, height: float, x: Axis, y: Axis):
        self.canvas, self.x, self.y = Canvas(width, height), x, y

    def grid(self, x_title: str, y_title: str, ticks: int = 5) -> None:
        """Draw grid lines, about ``ticks`` tick labels per axis, and both titles."""
        for tick in self.y.ticks(ticks):
            y = self.y(tick)
            self.canvas.line((self.x.start_px, y), (self.x.end_px, y), class_="grid")
            self.canvas.text((self.x.start_px - 8, y), short(tick), "end", class_="tick")
        for tick in self.x.ticks(ticks):
            self.canvas.text((self.x(tick), self.y.start_px + 16), short(tick), "middle", class_="tick")
        middle = (self.x.start_px + self.x.end_px) / 2
        self.canvas.text((middle, self.y.start_px + 36), x_title, "middle", class_="axis")
        if y_title:
            self.canvas.text((self.x.start_px + 6, self.y.end_px - 6), y_title, class_="axis")

    def line(self, points: Series, colour: str) -> None:
        """Draw a curve through points."""
        self.canvas.path([(self.x(x), self.y(y)) for x, y in points], class_=f"curve stroke-{colour}")

    def dots(self, points: Series, colour: str) -> None:
        """Draw a dot on every point whose y is finite."""
        for x, y in points:
            if math.isfinite(y):
                self.canvas.circle((self.x(x), self.y(y)), 3, class_=f"fill-{colour}")

    def end_labels(self, ends: Mapping[str, tuple[str, float]], apart_px: float = 18) -> None:
        """Write names beside the ends of curves, at least ``apart_px`` from one another.

        ``ends`` maps a colour to the name of its curve and the y of its last point.
        """
        placed: list[float] = []
        finite = {colour: end for colour, end in ends.items() if math.isfinite(end[1])}
        for colour, (label, value) in sorted(finite.items(), key=lambda item: -item[1][1]):
            y = max(self.y(value), placed[-1] + apart_px if placed else -math.inf)
            placed.append(y)
            self.canvas.text((self.x.end_px + 8, y), label, class_=f"name text-{colour}")


def range_axis(values: Sequence[float], start_px: float, end_px: float) -> Axis:
    """An axis from the lowest to the highest value, such as steps of training."""
    low, high = min(values), max(values)
    return Axis(low, high if high > low else low + 1, start_px, end_px)
