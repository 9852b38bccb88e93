"""Published tables with a run's scores as further rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from posebridge.contracts.record import PublishedRow, Record, Score
from posebridge.contracts.roles import ROLES, Role

_SUPERVISION: dict[Role, str] = {
    "source_only": "source only",
    "adapted": "unlabelled target",
    "supervised_target": "target labels",
}
_ALIGNMENT = {"EPE": "root-scale", "MPJPE": "root", "mean joint error": "none"}  # of each published metric


@dataclass(frozen=True)
class MethodRow:
    """A method with its numbers, one per column."""

    method: str
    supervision: str
    values: tuple[float | None, ...]
    role: Role | None = None  # of a model of this run; None for a published method
    proposed: bool = False  # by the paper itself
    remarks: tuple[int, ...] = ()  # numbers of the table's remarks, from 1


@dataclass(frozen=True)
class ComparisonTable:
    """One table of a paper under one protocol, with rows for this run's models."""

    first: PublishedRow  # all rows have its protocol
    columns: tuple[str, ...]
    method_rows: tuple[MethodRow, ...]
    digits: int
    remarks: tuple[str, ...]


def comparison_tables(record: Record) -> list[ComparisonTable]:
    """The published tables of a record."""
    return [
        _table(list(rows), record)
        for _, rows in groupby(
            record.published, key=lambda r: (r.paper, r.table, r.source, r.target, r.metric, r.variant)
        )
    ]


def _table(rows: list[PublishedRow], record: Record) -> ComparisonTable:
    first = rows[0]
    columns = tuple(dict.fromkeys(joints for row in rows for joints in row.values))
    remarks = tuple(dict.fromkeys(caveat for row in rows for caveat in row.caveats))
    method_rows = [
        MethodRow(
            # In a report, "ours" would mean this run.
            row.method.replace("Ours", "theirs"),
            row.supervision,
            tuple(row.values.get(column) for column in columns),
            proposed=row.proposed,
            remarks=tuple(remarks.index(caveat) + 1 for caveat in row.caveats),
        )
        for row in rows
    ]
    for role in ROLES:
        measured = _measured(record.scores[role], first.metric) if role in record.scores else {}
        if any(measured.get(column) is not None for column in columns):
            values = tuple(measured.get(column) for column in columns)
            method_rows.append(MethodRow("this run", _SUPERVISION[role], values, role))
    return ComparisonTable(
        first,
        columns,
        tuple(method_rows),
        max(_digits(value) for row in rows for value in row.values.values()),
        remarks,
    )


def _measured(score: Score, metric: str) -> Mapping[str, float | None]:
    """A score in the metric and unit of a table, by group of joints; empty if the metrics or alignments differ."""
    if metric == "PCK@0.05":
        return {name: 100 * share for name, share in {"All": score.pck_005, **score.per_group_pck}.items()}
    if metric == "PA-MPJPE":
        return {"All": score.pa_mean_error_mm}
    return {"All": score.mean_error_mm} if _ALIGNMENT.get(metric) == score.alignment else {}


def _digits(value: float | None) -> int:
    """The digits that a number was printed with after the decimal point, two at most."""
    return next((digits for digits in (0, 1) if value is None or round(value, digits) == value), 2)
