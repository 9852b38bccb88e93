"""Cells of the papers' tables by name, for the tests of published numbers."""

from pathlib import Path

from posebridge.evaluation.published import published_tables
from posebridge.evaluation.published_tables import PublishedTable

DATA = Path(__file__).resolve().parents[2] / "src" / "posebridge" / "evaluation" / "tables"
GEOMETRIC, MASKED, VIEWS, DISSERTATION = (
    *("geometric-reconstruction", "masked-reconstruction"),
    *("multi-view-information", "auxiliary-information"),
)


def table(paper: str, name: str) -> PublishedTable:
    return next(t for t in published_tables(paper) if t.name == name)


def cells(paper: str, name: str, method: str) -> dict[str, float | None]:
    found = table(paper, name)
    row = next(row for row in found.rows if row.method == method)
    return {column.label: value for column, value in zip(found.columns, row.values, strict=True)}
