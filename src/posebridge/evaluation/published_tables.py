"""What a published table is, and how one is read from its file. Free of torch.

One file a paper lies in ``tables/``, numbers as the paper prints them; reading one runs nothing that is in it.
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

# Metric -> its unit, and whether more of it is better (None: neither). Names that occur in ``protocols.BENCHMARKS``
# mean what is computed there.
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
    "wrong pseudo-labels that stay": ("%", False),
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
    """Where tables were published."""

    key: str
    authors: str
    title: str
    venue: str
    year: int
    splits: Mapping[str, str]  # target -> which of its frames were trained on, and which scored

    @property
    def citation(self) -> str:
        """First author, venue and year: Lin et al., NeurIPS 2023."""
        names = self.authors.replace(" and ", ", ").split(", ")
        who = names[0] if len(names) == 1 else f"{names[0]} et al."
        return f"{who}, {self.venue}" + ("" if str(self.year) in self.venue else f" {self.year}")


@dataclass(frozen=True)
class Column:
    """What one column of a table measures. ``source`` and ``target`` are empty where it measures no adaptation."""

    source: str  # labelled images of this set ...
    target: str  # ... and unlabelled ones of this, on whose test frames the number is taken
    metric: str  # a key of METRICS
    unit: str  # of the numbers as printed: METRICS's, or "share" for one in [0, 1]
    joints: str  # ALL_JOINTS, or a group of them
    variant: str  # what else tells it from columns of the same metric: an output, a split; often empty

    @property
    def label(self) -> str:
        """A name that no other column of the table has."""
        what = self.variant or (self.joints if self.metric == "PCK@0.05" else self.metric)
        return f"{self.target} {what}".strip()

    @property
    def higher_is_better(self) -> bool | None:
        """None for numbers that are neither good nor bad."""
        return METRICS[self.metric][1]


@dataclass(frozen=True)
class Row:
    """A method's numbers, one a column; None where the paper prints none, or our copy of it has lost one."""

    method: str
    citation: str  # the paper's label of its reference, often empty
    supervision: Supervision | None  # None for a row that is no method
    proposed: bool  # what the paper proposes, in full
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Caveat:
    """Why a number should be read with care, or is missing. An empty ``column`` means the whole row."""

    row: str
    column: str
    reason: str


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper, or a few numbers that its text tells beside a figure."""

    paper: Paper
    name: str  # as the paper counts: Table 1
    caption: str
    conditions: str  # what else the numbers depend on; may be empty
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
        """What is doubtful about these cells of a row."""
        labels = {"", *(column.label for column in columns)}
        return tuple(doubt for doubt in self.caveats if doubt.row == row.method and doubt.column in labels)


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
    """A block's columns: one a group of ``joints``, one a variant in ``columns``, or a single one."""
    metric = block["metric"]
    unit = block.get("unit", METRICS[metric][0])
    for joints in block.get("joints", [ALL_JOINTS]):
        for variant in block.get("columns", [""]):
            yield Column(block.get("source", ""), block.get("target", ""), metric, unit, joints, variant)


def _value(cell: float | str) -> float | None:
    """A number, or None for the dash of an empty cell and the question mark of a lost one."""
    if isinstance(cell, str):
        if cell not in ("-", "?"):
            raise ValueError(f"{cell!r} is no number, dash or question mark")
        return None
    return float(cell)
