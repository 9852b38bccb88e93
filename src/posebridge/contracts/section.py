"""Sections of a report: text, numbers, tables, charts and rows of pictures. Free of torch.

A method returns sections, a record stores them, and the report draws them. Record and report have no code for a single
method. A section needs a title only; every other part may be left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Point = tuple[float, float]
PoseRole = Literal["predicted", "before", "after", "truth"]
MOVED_PX = 1.0  # between before and after; joints that moved less get no arrow


@dataclass(frozen=True)
class Number:
    """A number with its label and unit. NaN is shown as n/a."""

    label: str
    value: float
    unit: str = ""
    digits: int = 1  # after the decimal point
    note: str = ""

    def __post_init__(self):
        _check_numbers((self.value,), f"number {self.label!r}")


@dataclass(frozen=True)
class TableRow:
    """A row of a table, all of whose values have one unit. None and NaN are shown as n/a."""

    label: str
    values: tuple[float | None, ...]
    unit: str = ""
    digits: int = 3  # after the decimal point

    def __post_init__(self):
        _check_numbers([value for value in self.values if value is not None], f"table row {self.label!r}")


@dataclass(frozen=True)
class Table:
    """Numbers in rows and columns. Raises ``ValueError`` unless every row has a value for every column."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    caption: str = ""

    def __post_init__(self):
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(
                    f"table row {row.label!r} has {len(row.values)} values for {len(self.columns)} columns"
                )


@dataclass(frozen=True)
class LineChart:
    """One or more series of (x, y) over a common x axis. An y that isn't finite leaves a gap."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, tuple[Point, ...]]  # by name
    y_range: Point | None = None  # None: the range of the values
    style: Literal["line", "points"] = "line"  # points: a scatter plot
    note: str = ""

    def __post_init__(self):
        name = f"chart {self.title!r}"
        if not any(self.series.values()):
            raise ValueError(f"{name} has no points: leave it out")
        for label, points in self.series.items():
            _check_numbers([value for point in points for value in point], f"series {label!r} of {name}")
            if not all(math.isfinite(x) for x, _ in points):
                raise ValueError(f"series {label!r} of {name} has an x that isn't finite: leave the point out")
        _check_range(self.y_range, name)


@dataclass(frozen=True)
class GroupChart:
    """One or more values for each of several groups (of joints, views, methods).

    Two series are drawn as a change: the first as a hollow mark, the second as a filled one, a line between them.
    """

    title: str
    value_label: str
    groups: tuple[str, ...]
    series: Mapping[str, tuple[float, ...]]  # by name, one value per group; NaN draws no mark
    counts: tuple[int, ...] = ()  # per group; empty: not shown
    count_label: str = "count"
    value_range: Point | None = None  # None: the range of the values
    higher_is_better: bool | None = None  # colours the changes of two series; None: one colour for all
    note: str = ""

    def __post_init__(self):
        name = f"chart {self.title!r}"
        if not self.groups or not self.series:
            raise ValueError(f"{name} has no groups or no series: leave it out")
        for label, values in self.series.items():
            _check_numbers(values, f"series {label!r} of {name}")
            if len(values) != len(self.groups):
                raise ValueError(f"series {label!r} of {name} has {len(values)} values for {len(self.groups)} groups")
        if self.counts and len(self.counts) != len(self.groups):
            raise ValueError(f"{name} has {len(self.counts)} counts for {len(self.groups)} groups")
        _check_range(self.value_range, name)


@dataclass(frozen=True)
class Legend:
    """How to read a kind of picture: a text, and a swatch of its colours where colours carry a meaning."""

    title: str
    text: str
    swatch: np.ndarray | None = None  # (h, w, 3) RGB or (h, w, 4) RGBA uint8
    swatch_labels: tuple[str, ...] = ()  # from left to right below the swatch

    def __post_init__(self):
        if self.swatch is not None:
            check_image(self.swatch, f"swatch of legend {self.title!r}", channels=(3, 4))


@dataclass(frozen=True)
class PoseOverlay:
    """A pose over a picture, in the joint order of the record. The report draws it in its own colours.

    ``predicted`` and ``after`` are drawn as coloured skeletons, ``truth`` as crosses. From ``before`` to ``after``
    arrows are drawn for joints that moved.
    """

    role: PoseRole
    uv_px: np.ndarray  # (J, 2) float, pixels of the picture; NaN where a joint is missing

    def __post_init__(self):
        if self.uv_px.ndim != 2 or self.uv_px.shape[1] != 2 or not np.issubdtype(self.uv_px.dtype, np.floating):
            raise ValueError(f"{self.role} pose is {self.uv_px.dtype} {self.uv_px.shape}, expected floats (J, 2)")


@dataclass(frozen=True)
class Picture:
    """A picture with a caption and poses over it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    caption: str
    poses: tuple[PoseOverlay, ...] = ()  # one per role at most
    lossless: bool = False  # True for maps whose exact colours carry a meaning; photographs are compressed

    def __post_init__(self):
        check_image(self.image, f"picture {self.caption!r}")
        roles = [pose.role for pose in self.poses]
        if len(set(roles)) < len(roles):
            raise ValueError(f"picture {self.caption!r} has more than one pose of a role: {', '.join(roles)}")
        if "before" in roles and "after" not in roles:
            raise ValueError(f"picture {self.caption!r} has a pose before and none after: give both, or one predicted")

    def pose(self, role: PoseRole) -> np.ndarray | None:
        """The joints (J, 2) of a role in pixels; None where the picture has none."""
        return next((pose.uv_px for pose in self.poses if pose.role == role), None)


@dataclass(frozen=True)
class PictureRow:
    """Pictures that belong together, with numbers about them."""

    caption: str
    pictures: tuple[Picture, ...]
    numbers: tuple[Number, ...] = ()

    def __post_init__(self):
        if not self.pictures:
            raise ValueError(f"picture row {self.caption!r} has no pictures: leave it out")


@dataclass(frozen=True)
class Section:
    """A part of a report. Parts are drawn in the order of the fields."""

    title: str
    text: str = ""  # paragraphs, with an empty line between them
    summary: str = ""  # one sentence for the head of a report that has no scores
    numbers: tuple[Number, ...] = ()
    tables: tuple[Table, ...] = ()
    line_charts: tuple[LineChart, ...] = ()
    group_charts: tuple[GroupChart, ...] = ()
    legends: tuple[Legend, ...] = ()
    picture_rows: tuple[PictureRow, ...] = ()
    note: str = ""

    def __post_init__(self):
        if not self.title.strip():
            raise ValueError("a section has no title: give it one")

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures, row by row."""
        return tuple(picture for row in self.picture_rows for picture in row.pictures)


def check_image(image: np.ndarray, name: str, channels: tuple[int, ...] = (3,)) -> None:
    """Raise ``ValueError`` unless ``image`` is a non-empty uint8 array (H, W, C) with one of ``channels`` as C."""
    if image.ndim != 3 or image.shape[2] not in channels or image.dtype != np.uint8 or image.size == 0:
        wanted = " or ".join(f"(H, W, {count})" for count in channels)
        raise ValueError(f"{name} is {image.dtype} {image.shape}, expected uint8 {wanted}")


def _check_numbers(values: Any, name: str) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} holds a {type(value).__name__}, expected int or float: convert it with float()")


def _check_range(value_range: Point | None, name: str) -> None:
    if value_range is not None and not (np.isfinite(value_range).all() and value_range[0] < value_range[1]):
        raise ValueError(f"{name} has the range {value_range}, expected two finite numbers that rise")
