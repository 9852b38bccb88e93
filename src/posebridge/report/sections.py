"""Sections of a record, prepared for the template."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from posebridge.contracts.section import MOVED_PX, GroupChart, Legend, LineChart, Picture, PictureRow, Section
from posebridge.report.pictures import light_jpeg_uri, png_uri
from posebridge.report.section_charts import (
    ends_of,
    group_chart,
    has_end_labels,
    line_chart,
    series_colours,
)
from posebridge.report.skeleton_overlay import SkeletonStyle, draw_picture
from posebridge.report.svg import Canvas

_STRIP_ASPECT = 2.0  # wider pictures stand two in a row instead of four
_STRIP_PX, _PICTURE_PX = 960, 400  # longest side of encoded photographs
_MAP_PX = 256  # of lossless pictures, which take more space
_SQUARE_SWATCH_PX, _WIDE_SWATCH_PX = 96, 240


@dataclass(frozen=True)
class ChartView:
    """A drawn chart."""

    title: str
    drawing: Markup
    ends: str  # first and last value of a single series
    key: dict[str, str]  # series -> colour, where the drawing doesn't name them
    note: str


@dataclass(frozen=True)
class LegendView:
    """A legend with its drawn swatch, if it has one."""

    legend: Legend
    swatch: Markup | None
    width_px: int


@dataclass(frozen=True)
class RowView:
    """A row of drawn pictures with their captions."""

    row: PictureRow
    pictures: tuple[tuple[str, Markup], ...]
    strips: bool  # wide pictures, two in a row


@dataclass(frozen=True)
class SectionView:
    """A section, ready to be laid out."""

    section: Section
    paragraphs: tuple[str, ...]
    first_chart: ChartView | None  # drawn large, beside numbers and tables
    charts: tuple[ChartView, ...]  # the others, three in a row
    pose_legend: str  # empty where no picture has a pose
    legends: tuple[LegendView, ...]
    rows: tuple[RowView, ...]


def section_view(section: Section, skeleton: SkeletonStyle) -> SectionView:
    """Draw the charts and pictures of a section."""
    charts: list[LineChart | GroupChart] = [*section.line_charts, *section.group_charts]
    return SectionView(
        section=section,
        paragraphs=tuple(part.strip() for part in section.text.split("\n\n") if part.strip()),
        first_chart=_chart_view(charts[0], wide=True) if charts else None,
        charts=tuple(_chart_view(chart, wide=False) for chart in charts[1:]),
        pose_legend=_pose_legend(section),
        legends=tuple(_legend_view(legend) for legend in section.legends),
        rows=tuple(_row_view(row, skeleton) for row in section.picture_rows),
    )


def _chart_view(chart: LineChart | GroupChart, wide: bool) -> ChartView:
    colours = series_colours(chart.series)
    if isinstance(chart, GroupChart):
        key = {} if len(colours) <= 2 else colours
        return ChartView(chart.title, group_chart(chart, wide), "", key, chart.note)
    key = {} if len(colours) == 1 or has_end_labels(chart, wide) else colours
    points = next(iter(chart.series.values()))
    ends = ends_of(points) if len(colours) == 1 and chart.style == "line" else ""
    return ChartView(chart.title, line_chart(chart, wide), ends, key, chart.note)


def _pose_legend(section: Section) -> str:
    """How to read the poses of a section's pictures."""
    roles = {pose.role for picture in section.pictures for pose in picture.poses}
    sentences = []
    if roles & {"predicted", "after"}:
        sentences.append("Predicted joints are in colour.")
    if "before" in roles:
        sentences.append(
            f"Arrows lead from a joint's position before to its position after, if it moved by more than "
            f"{MOVED_PX:g} px."
        )
    if "truth" in roles:
        sentences.append("White crosses mark the true joints.")
    return " ".join(sentences)


def _legend_view(legend: Legend) -> LegendView:
    if legend.swatch is None:
        return LegendView(legend, None, 0)
    height, width = legend.swatch.shape[:2]
    wide = width > 2 * height
    canvas = Canvas(width, height, "swatch-picture wide" if wide else "swatch-picture")
    canvas.image(png_uri(legend.swatch), (width, height))
    alt = f"Colours of {legend.title}"
    if legend.swatch_labels:
        alt += f", from left to right: {', '.join(legend.swatch_labels)}"
    return LegendView(legend, canvas.markup(alt), _WIDE_SWATCH_PX if wide else _SQUARE_SWATCH_PX)


def _row_view(row: PictureRow, skeleton: SkeletonStyle) -> RowView:
    strips = all(_is_strip(picture.image) for picture in row.pictures)
    drawings = [
        (
            picture.caption,
            draw_picture(picture, _data_uri(picture, strips), skeleton, f"{picture.caption} of {row.caption}"),
        )
        for picture in row.pictures
    ]
    return RowView(row, tuple(drawings), strips)


def _is_strip(image: np.ndarray) -> bool:
    return image.shape[1] > _STRIP_ASPECT * image.shape[0]


def _data_uri(picture: Picture, strip: bool) -> str:
    if picture.lossless:
        return png_uri(picture.image, _MAP_PX)
    return light_jpeg_uri(picture.image, _STRIP_PX if strip else _PICTURE_PX)
