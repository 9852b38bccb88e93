"""Trusted joints before and after reconstruction, as a chart."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from posebridge.contracts.record import ConfidentJoints
from posebridge.report.svg import Axis, Canvas

_ROW_PX, _TOP_PX = 32, 24


@dataclass(frozen=True)
class Row:
    """One group of joints."""

    group: str
    count: int
    before: float  # share within 0.05
    after: float


def confident_rows(confident: ConfidentJoints) -> Iterator[Row]:
    """The groups in the record's order."""
    for group, count in confident.count.items():
        yield Row(group, count, confident.before[group], confident.after[group])


def confident_chart(confident: ConfidentJoints) -> Markup:
    """From share before to share after, a line a group, in the colour of better models where it rose."""
    rows = list(confident_rows(confident))
    floor = _TOP_PX + _ROW_PX * len(rows)
    canvas = Canvas(560, floor + 46)
    axis = Axis(0, 1, 132, 500)
    for tick in axis.ticks():
        canvas.line((axis(tick), _TOP_PX), (axis(tick), floor), class_="grid")
        canvas.text((axis(tick), floor + 14), f"{tick:g}", "middle", class_="tick")
    canvas.text((120, 10), "joints", "end", class_="tick")
    canvas.text((552, 10), "change, points", "end", class_="tick")
    canvas.text((316, floor + 34), "share within 5% of the image's side", "middle", class_="axis")
    for i, row in enumerate(rows):
        y = _TOP_PX + _ROW_PX * (i + 0.5)
        way = "fell" if row.after < row.before else "rose"
        canvas.text((70, y), row.group, "end", class_="label")
        canvas.text((120, y), str(row.count), "end", class_="tick")
        if math.isfinite(row.before) and math.isfinite(row.after):
            canvas.line((axis(row.before), y), (axis(row.after), y), class_=way)
            canvas.text((552, y), f"{100 * (row.after - row.before):+.1f}", "end", class_="value")
        for value, style in ((row.before, "before"), (row.after, f"after-{way}")):
            if math.isfinite(value):
                canvas.circle((axis(value), y), 5.5, class_=f"mark {style}")
    told = "; ".join(f"{row.group} {row.before:.2f} to {row.after:.2f}" for row in rows)
    return canvas.markup(f"Share of trusted joints that are right, before and after reconstruction: {told}")
