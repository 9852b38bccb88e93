"""Published results of the papers, for comparison with a run. Free of torch."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby

from posebridge.contracts.record import PublishedRow, Supervision
from posebridge.errors import InputError
from posebridge.evaluation.published_tables import ALL_JOINTS, METRICS, Column, PublishedTable, load_tables, papers


def published_tables(paper: str | None = None) -> tuple[PublishedTable, ...]:
    """The tables of a paper, or of all. Raises ``InputError`` for a key that is not in ``papers()``."""
    if paper is None:
        return tuple(table for key in papers() for table in load_tables(key))
    if paper not in papers():
        raise InputError(f"no paper {paper!r}: there are {', '.join(papers())}")
    return load_tables(paper)


def find_published(
    target: str,
    metric: str,
    source: str | None = None,
    joints: str = ALL_JOINTS,
    supervision: Supervision | None = None,
    ablations: bool = False,
) -> tuple[PublishedRow, ...]:
    """Published rows comparable with a result on ``target``, with a value over the group ``joints``.

    A row holds the values of one method under one protocol, by group of joints; PCK is in per cent. Rows of ablations
    are excluded unless ``ablations`` is set. Raises ``InputError``, listing what is published, if there is none.
    """
    rows = published_rows(target, metric, source, joints, supervision, ablations)
    if not rows:
        wanted = [word for word in (source and f"from {source}", f"on {target}", metric, joints, supervision) if word]
        raise InputError(f"no published numbers {', '.join(wanted)}: {_choices(target)}")
    return rows


def published_rows(
    target: str,
    metric: str,
    source: str | None = None,
    joints: str = ALL_JOINTS,
    supervision: Supervision | None = None,
    ablations: bool = False,
) -> tuple[PublishedRow, ...]:
    """As ``find_published``; empty if nothing is published."""
    return tuple(
        published
        for published in _rows_of(target, metric, source, ablations)
        if published.values.get(joints) is not None and supervision in (None, published.supervision)
    )


def _rows_of(target: str, metric: str, source: str | None, ablations: bool) -> Iterator[PublishedRow]:
    for table in published_tables():
        if table.ablation and not ablations:
            continue
        for columns in _protocols(table):
            if (columns[0].target, columns[0].metric) == (target, metric) and source in (None, columns[0].source):
                yield from _published(table, columns)


def _choices(target: str) -> str:
    """What is published on a target, or the known targets, as text."""
    columns = [column for table in published_tables() for column in table.columns if column.target]
    if target not in {column.target for column in columns}:
        return f"the targets are {', '.join(sorted({column.target for column in columns}))}"
    known = sorted({f"{c.metric} over {c.joints} from {c.source}" for c in columns if c.target == target})
    return f"on {target} there are {', '.join(known)}; with ablations=True also rows of ablations"


def _protocols(table: PublishedTable) -> Iterator[tuple[Column, ...]]:
    """Groups of columns that differ only in their joints."""
    for _, columns in groupby(table.columns, key=lambda c: (c.source, c.target, c.metric, c.unit, c.variant)):
        yield tuple(columns)


def _published(table: PublishedTable, columns: tuple[Column, ...]) -> Iterator[PublishedRow]:
    """The values of every method in the given columns, as rows for a report."""
    column = columns[0]
    unit, higher_is_better = METRICS[column.metric]
    for row in table.rows:
        cells = dict(zip(table.columns, row.values, strict=True))
        if row.supervision is None:
            continue
        yield PublishedRow(
            paper=table.paper.citation,
            table=table.name,
            source=column.source,
            target=column.target,
            metric=column.metric,
            unit=unit,
            higher_is_better=higher_is_better,
            variant=column.variant,
            split="; ".join(filter(None, (table.paper.splits[column.target], table.conditions))),
            backbone=table.backbone,
            method=row.method,
            supervision=row.supervision,
            proposed=row.proposed,
            values={c.joints: _in_unit(cells[c], c.unit, unit) for c in columns},
            caveats=tuple(doubt.reason for doubt in table.caveats_for(row, columns)),
        )


def _in_unit(value: float | None, printed: str, unit: str) -> float | None:
    if value is None or printed == unit:
        return value
    return float(100 * Decimal(str(value)))  # from a fraction to per cent
