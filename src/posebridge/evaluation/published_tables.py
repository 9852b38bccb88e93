"""Published tables and their reader. Free of torch.

``tables/`` holds one TOML file per paper, with values as printed; reading a file executes nothing.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from posebridge.contracts.record import Supervision

_FOLDER = Path(__file__).parent / "tables"
ALL_JOINTS = "All"

# Metric -> its unit, and whether higher is better (None: neither). Names in ``protocols.BENCHMARKS`` are computed as
# defined there.
METRICS: Mapping[str, tuple[str, bool | None]] = {
    "PCK@0.05": ("%", True),
    "gain in PCK@0.05": ("points", True),
    "EPE": ("mm", False),
    "MPJPE": ("mm", False),
    "PA-MPJPE": ("mm", False),
    "mean joint error": ("mm", False),
    "success rate at 20 mm": ("%", True),
    "AUC": ("share", True),
    "correct pseudo-labels": ("%", True),
    "wrong pseudo-labels that persist": ("%", False),
    "agreement of the masks": ("%", None),
    "time per image": ("ms", False),
    "frames per second": ("1/s", True),
    "subjects": ("", None),
    "views": ("", None),
    "frames": ("thousand", None),
    "joints": ("", None),
}


@dataclass(frozen=True)
class Paper:
    """The publication of a table."""

    key: str
    authors: str
    title: str
    venue: str
    year: int
    splits: Mapping[str, str]  # target -> its training and test frames

    @property
    def citation(self) -> str:
        """First author, venue and year: Lin et al., NeurIPS 2023."""
        names = self.authors.replace(" and ", ", ").split(", ")
        who = names[0] if len(names) == 1 else f"{names[0]} et al."
        return f"{who}, {self.venue}" + ("" if str(self.year) in self.venue else f" {self.year}")


@dataclass(frozen=True)
class Column:
    """What one column of a table measures. ``source`` and ``target`` are empty if it isn't an adaptation result."""

    source: str  # set of labelled images
    target: str  # set of unlabelled images, on whose test frames the metric is computed
    metric: str  # a key of METRICS
    unit: str  # of the printed values: as in METRICS, or "share" for a fraction in [0, 1]
    joints: str  # ALL_JOINTS or a group of joints
    variant: str  # distinguishes columns of the same metric: an output, a split; often empty

    @property
    def label(self) -> str:
        """A name that is unique in the table."""
        what = self.variant or (self.joints if self.metric == "PCK@0.05" else self.metric)
        return f"{self.target} {what}".strip()

    @property
    def higher_is_better(self) -> bool | None:
        """None for metrics without a direction."""
        return METRICS[self.metric][1]


@dataclass(frozen=True)
class Row:
    """A method's values, one per column; None if the paper prints none, or our copy of it lacks it."""

    method: str
    citation: str  # label of the reference in the paper, often empty
    supervision: Supervision | None  # None for a row that isn't a method
    proposed: bool  # True for the paper's full method
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Caveat:
    """Why a value is uncertain or missing. An empty ``column`` means the whole row."""

    row: str
    column: str
    reason: str


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper, or values from its text."""

    paper: Paper
    name: str  # as numbered in the paper: Table 1
    caption: str
    conditions: str  # further conditions of the experiment; may be empty
    backbone: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ablation: bool = False  # rows are variants of the paper's own method
    notes: tuple[str, ...] = ()
    caveats: tuple[Caveat, ...] = ()

    def __post_init__(self):
        where = f"{self.paper.key}, {self.name}"
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"{where}: {row.method} has {len(row.values)} numbers for {len(self.columns)} columns")
        for names in ([row.method for row in self.rows], [column.label for column in self.columns]):
            if len(set(names)) != len(names):
                raise ValueError(f"{where}: names repeat: {', '.join(names)}")

    def caveats_for(self, row: Row, columns: Iterable[Column]) -> tuple[Caveat, ...]:
        """The caveats on these cells of a row."""
        labels = {"", *(column.label for column in columns)}
        return tuple(caveat for caveat in self.caveats if caveat.row == row.method and caveat.column in labels)


def papers() -> tuple[str, ...]:
    """The keys of the papers."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def load_tables(key: str) -> tuple[PublishedTable, ...]:
    """The tables of one of ``papers()``."""
    content = tomllib.loads((_FOLDER / f"{key}.toml").read_text(encoding="utf-8"))
    paper = Paper(**content["paper"], splits=content["splits"])
    return tuple(_table(paper, entry) for entry in content["table"])


def _table(paper: Paper, entry: Mapping[str, Any]) -> PublishedTable:
    return PublishedTable(
        paper=paper,
        name=entry["name"],
        caption=entry["caption"],
        conditions=entry.get("conditions", ""),
        backbone=entry["backbone"],
        columns=tuple(column for block in entry["blocks"] for column in _columns(block)),
        rows=tuple(
            Row(method, citation, supervision or None, method in entry["proposed"], tuple(map(_value, values)))
            for method, citation, supervision, *values in entry["rows"]
        ),
        ablation=entry.get("ablation", False),
        notes=tuple(entry.get("notes", ())),
        caveats=tuple(Caveat(**caveat) for caveat in entry.get("caveats", ())),
    )


def _columns(block: Mapping[str, Any]) -> Iterator[Column]:
    """The columns of a block: one for each group in ``joints`` and each variant in ``columns``."""
    metric = block["metric"]
    unit = block.get("unit", METRICS[metric][0])
    for joints in block.get("joints", [ALL_JOINTS]):
        for variant in block.get("columns", [""]):
            yield Column(block.get("source", ""), block.get("target", ""), metric, unit, joints, variant)


def _value(cell: float | str) -> float | None:
    """The value of a cell; None for "-" (empty in the paper) and "?" (missing in our copy)."""
    if isinstance(cell, str):
        if cell not in ("-", "?"):
            raise ValueError(f"{cell!r} is not a number, '-' or '?'")
        return None
    return float(cell)
