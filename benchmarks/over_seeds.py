"""Options, rows and tables of the benchmarks that train the same models with several seeds."""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.training.options import Hardware
from posebridge.training.run import environment

_ENVIRONMENT = ("posebridge", "python", "torch", "cpu_threads", "gpu")  # of what made a row


@dataclass(frozen=True)
class OverSeeds:
    """Options of every benchmark that trains with several seeds."""

    preset: str = "small"
    """small for two CPU cores, full for a GPU."""

    seeds: int = 3
    """Number of seeds."""

    first_seed: int = 0
    """The first seed."""

    sets: Path | None = None
    """Folder in which rendered sets are kept as shards and read again. Default: they are rendered in memory."""

    json: Path | None = None
    """File to which the rows are written."""

    beside: tuple[Path, ...] = ()
    """Files that other runs wrote with --json. Their rows are added to the table."""

    hardware: Hardware = field(default_factory=Hardware)

    @property
    def seed_numbers(self) -> range:
        """The seeds of this run."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def save(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows so far to the file given by --json, each with the versions and machine that made it."""
        if self.json is not None:
            found = environment()
            made_by = {name: found[name] for name in _ENVIRONMENT} | {"processor": platform.machine()}
            self.json.write_text(json.dumps([{**row, "environment": made_by} for row in rows], indent=1) + "\n")

    def with_others(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows, and those of the files given by --beside."""
        return [*rows, *(row for file in self.beside for row in json.loads(file.read_text()))]


def seeds_table(
    rows: Sequence[dict[str, Any]], by: str, columns: Sequence[str], digits: Callable[[str], int] = lambda column: 3
) -> str:
    """Markdown: mean and standard error over seeds, one line for each value of ``by``.

    Args:
        rows: one for each seed and value of ``by``.
        by: the column that names a line.
        columns: the columns with numbers. A value that is missing or None is left out.
        digits: decimal places of a column.
    """
    lines = [f"| {by} | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name in dict.fromkeys(row[by] for row in rows):
        own = [row for row in rows if row[by] == name]
        cells = []
        for column in columns:
            values = np.array([row[column] for row in own if row.get(column) is not None], dtype=float)
            cell = f"{values.mean():.{digits(column)}f}" if len(values) else "-"
            if len(values) > 1:
                cell += f" ± {values.std(ddof=1) / len(values) ** 0.5:.{digits(column)}f}"
            cells.append(cell)
        lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
