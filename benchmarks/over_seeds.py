"""What SynthShift's benchmarks share: options of runs over seeds, rows in a file, tables as Markdown."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from posebridge.training.options import Hardware


@dataclass(frozen=True)
class OverSeeds:
    """Options of every benchmark that trains the same on several seeds."""

    size: Literal["small", "full"] = "small"
    """small runs on two CPU cores, full on a GPU."""

    seeds: int = 3
    """Number of seeds."""

    first_seed: int = 0
    """The first of them."""

    sets: Path | None = None
    """Folder where rendered sets are kept as shards, and read from; without it they are rendered in memory."""

    json: Path | None = None
    """Where the rows go."""

    beside: tuple[Path, ...] = ()
    """Rows of other runs, as --json left them, that stand in the table, too: the work can be shared."""

    hardware: Hardware = field(default_factory=Hardware)

    @property
    def seed_numbers(self) -> range:
        """The seeds of this run."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def keep(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows so far, if they are asked for."""
        if self.json is not None:
            self.json.write_text(json.dumps(rows, indent=1))

    def with_others(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """These rows and those of the runs beside."""
        return [*rows, *(row for file in self.beside for row in json.loads(file.read_text()))]


def seeds_table(
    rows: Sequence[dict[str, Any]], by: str, columns: Sequence[str], digits: Callable[[str], int] = lambda column: 3
) -> str:
    """Mean and standard error over seeds of each column, a line for each value of ``by``."""
    lines = [f"| {by} | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name in dict.fromkeys(row[by] for row in rows):
        own = [row for row in rows if row[by] == name]
        cells = []
        for column in columns:
            values = np.array([row[column] for row in own if row[column] is not None], dtype=float)
            cell = f"{values.mean():.{digits(column)}f}" if len(values) else "-"
            if len(values) > 1:
                cell += f" ± {values.std(ddof=1) / len(values) ** 0.5:.{digits(column)}f}"
            cells.append(cell)
        lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
