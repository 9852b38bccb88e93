"""Charts of sections as inline SVG."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from posebridge.contracts.section import GroupChart, LineChart, Point
from posebridge.report.plot import Plot, range_axis
from posebridge.report.svg import Axis, Canvas, axis_over, short

COLOURS = 6  # of series in the style sheet; further series start again with the first
_MOST_POINTS = 400  # of a line; more can't be seen at the size of these charts
_MOST_SCATTERED = 2000  # dots of a series: the page stays light
_MOST_DOTS = 60  # of a line; more would hide it
_END_LABEL_CHARACTERS = 14  # longer names don't fit beside the ends of lines
_ROW_PX, _TOP_PX = 32, 24
_CHARACTER_PX = 7.2  # mean width at the size of the labels


def series_colours(series: Mapping[str, object]) -> dict[str, str]:
    """The colour class of every series."""
    return {name: f"series-{i % COLOURS}" for i, name in enumerate(series)}


def has_end_labels(chart: LineChart, wide: bool) -> bool:
    """Whether the names of series stand beside their lines; otherwise they need a key."""
    return (
        wide
        and chart.style == "line"
        and 1 < len(chart.series) <= COLOURS
        and all(len(name) <= _END_LABEL_CHARACTERS for name in chart.series)
    )


def line_chart(chart: LineChart, wide: bool) -> Markup:
    """A line chart or scatter plot, at the width of half a page or of a third."""
    labelled = has_end_labels(chart, wide)
    values = [y for points in chart.series.values() for _, y in points]
    places = [x for points in chart.series.values() for x, _ in points]
    if wide:
        plot = Plot(
            560, 300, range_axis(places, 52, 456 if labelled else 530), _value_axis(values, chart.y_range, 250, 16)
        )
    else:
        plot = Plot(360, 210, range_axis(places, 46, 346), _value_axis(values, chart.y_range, 168, 14))
    plot.grid(chart.x_label, chart.y_label if wide else "", ticks=5 if wide else 4)
    for name, colour in series_colours(chart.series).items():
        points = chart.series[name]
        if chart.style == "points":
            plot.dots(points[:: math.ceil(len(points) / _MOST_SCATTERED) or 1], colour)
            continue
        points = points[:: math.ceil(len(points) / _MOST_POINTS) or 1]
        plot.line(points, colour)
        if len(points) <= _MOST_DOTS:
            plot.dots(points, colour)
    if labelled:
        ends = {colour: name for name, colour in series_colours(chart.series).items() if chart.series[name]}
        plot.end_labels({colour: (name, chart.series[name][-1][1]) for colour, name in ends.items()})
    return plot.canvas.markup(_line_alt(chart))


def ends_of(points: Sequence[Point]) -> str:
    """The first and the last finite y of a series, as text; empty without one."""
    values = [y for _, y in points if math.isfinite(y)]
    return f"{short(values[0])} → {short(values[-1])}" if values else ""


def group_chart(chart: GroupChart, wide: bool) -> Markup:
    """One row per group; the change between two series, or one mark per series."""
    width = 560 if wide else 360
    label_px = 16 + _CHARACTER_PX * max(map(len, chart.groups))
    count_px = label_px + (52 if chart.counts else 0)
    floor = _TOP_PX + _ROW_PX * len(chart.groups)
    canvas = Canvas(width, floor + 46)
    values = [value for row in chart.series.values() for value in row]
    axis = _value_axis(values, chart.value_range, count_px + 12, width - 70)
    for tick in axis.ticks():
        canvas.line((axis(tick), _TOP_PX), (axis(tick), floor), class_="grid")
        canvas.text((axis(tick), floor + 14), short(tick), "middle", class_="tick")
    if chart.counts:
        canvas.text((count_px, 10), chart.count_label, "end", class_="tick")
    if len(chart.series) == 2:
        canvas.text((width - 8, 10), "change", "end", class_="tick")
    canvas.text(((axis.start_px + axis.end_px) / 2, floor + 34), chart.value_label, "middle", class_="axis")
    for i, group in enumerate(chart.groups):
        y = _TOP_PX + _ROW_PX * (i + 0.5)
        canvas.text((label_px, y), group, "end", class_="label")
        if chart.counts:
            canvas.text((count_px, y), str(chart.counts[i]), "end", class_="tick")
        _marks(canvas, axis, y, chart, i)
    return canvas.markup(_group_alt(chart))


def _marks(canvas: Canvas, axis: Axis, y: float, chart: GroupChart, index: int) -> None:
    """The values of one group."""
    values = [row[index] for row in chart.series.values()]
    if len(values) != 2:
        for value, colour in zip(values, series_colours(chart.series).values(), strict=True):
            if math.isfinite(value):
                canvas.circle((axis(value), y), 5.5, class_=f"mark fill-{colour}")
        if len(values) == 1 and math.isfinite(values[0]):
            canvas.text((canvas.width - 8, y), short(values[0]), "end", class_="value")
        return
    first, second = values
    change = "change"
    if chart.higher_is_better is not None and math.isfinite(second - first):
        change = "worse" if (second < first if chart.higher_is_better else second > first) else "better"
    if math.isfinite(second - first):
        canvas.line((axis(first), y), (axis(second), y), class_=f"stroke-{change} connector")
        canvas.text((canvas.width - 8, y), f"{second - first:+.3g}", "end", class_="value")
    for value, style in ((first, "hollow"), (second, f"fill-{change}")):
        if math.isfinite(value):
            canvas.circle((axis(value), y), 5.5, class_=f"mark {style}")


def _value_axis(values: Sequence[float], value_range: Point | None, start_px: float, end_px: float) -> Axis:
    return axis_over(values, start_px, end_px) if value_range is None else Axis(*value_range, start_px, end_px)


def _line_alt(chart: LineChart) -> str:
    ends = {name: ends_of(points) or "no values" for name, points in chart.series.items()}
    if len(ends) == 1:
        return f"{chart.title} over {chart.x_label}: {', '.join(ends.values())}"
    return f"{chart.title} over {chart.x_label}: {'; '.join(f'{name} {values}' for name, values in ends.items())}"


def _group_alt(chart: GroupChart) -> str:
    rows = []
    for i, group in enumerate(chart.groups):
        rows.append(f"{group} " + " to ".join(short(values[i]) for values in chart.series.values()))
    return f"{chart.title}, {', then '.join(chart.series)}: {'; '.join(rows)}"
