"""Tables over seeds, as Markdown: what the benchmarks share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


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
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
            cells.append(f"{values.mean():.{digits(column)}f} ± {error:.{digits(column)}f}" if len(values) else "-")
        lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
