"""A run's scores beside published numbers, as the lines of tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from posebridge.contracts.record import ROLES, PublishedRow, Record, Role, Score

_SUPERVISION: dict[Role, str] = {
    "source_only": "source only",
    "adapted": "unlabelled target",
    "supervised_target": "target labels",
}
_ALIGNED = {"EPE": "root-scale", "MPJPE": "root", "mean joint error": "none"}  # metric -> what it takes from the truth


@dataclass(frozen=True)
class Line:
    """A method with its numbers, one a column."""

    method: str
    supervision: str
    values: tuple[float | None, ...]
    role: Role | None = None  # of this run's models; None for a published method
    own: bool = False  # what the paper proposes
    doubts: tuple[int, ...] = ()  # numbers of the table's remarks, from 1


@dataclass(frozen=True)
class Table:
    """One table of a paper under one protocol, with this run's models below it."""

    first: PublishedRow  # whose protocol is that of all rows
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    digits: int
    remarks: tuple[str, ...]


def tables_beside(record: Record) -> list[Table]:
    """The published tables that a record carries."""
    return [
        _table(list(rows), record)
        for _, rows in groupby(
            record.published, key=lambda r: (r.paper, r.table, r.source, r.target, r.metric, r.variant)
        )
    ]


def _table(rows: list[PublishedRow], record: Record) -> Table:
    first = rows[0]
    columns = tuple(dict.fromkeys(joints for row in rows for joints in row.values))
    remarks = tuple(dict.fromkeys(doubt for row in rows for doubt in row.doubts))
    lines = [
        Line(
            # In a report, "ours" would be the reader's own run.
            row.method.replace("Ours", "theirs"),
            row.supervision,
            tuple(row.values.get(column) for column in columns),
            own=row.own,
            doubts=tuple(remarks.index(doubt) + 1 for doubt in row.doubts),
        )
        for row in rows
    ]
    for role in ROLES:
        measured = _measured(record.scores[role], first.metric) if role in record.scores else {}
        if any(measured.get(column) is not None for column in columns):
            values = tuple(measured.get(column) for column in columns)
            lines.append(Line("this run", _SUPERVISION[role], values, role))
    return Table(
        first, columns, tuple(lines), max(_digits(value) for row in rows for value in row.values.values()), remarks
    )


def _measured(score: Score, metric: str) -> Mapping[str, float | None]:
    """A score in the metric and unit of a table, by group of joints; empty where it isn't the same quantity."""
    if metric == "PCK@0.05":
        return {name: 100 * share for name, share in {"All": score.pck_005, **score.per_group_pck}.items()}
    if metric == "PA-MPJPE":
        return {"All": score.pa_mean_error_mm}
    return {"All": score.mean_error_mm} if _ALIGNED.get(metric) == score.alignment else {}


def _digits(value: float | None) -> int:
    """How many decimals a number was printed with, two at most."""
    return next((digits for digits in (0, 1) if value is None or round(value, digits) == value), 2)
