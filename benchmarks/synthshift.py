"""SynthShift's table: three numbers and the gap closed, with mean and standard error over seeds.

python benchmarks/synthshift.py --track hand-rgb --methods source_only,mean_teacher --size small --seeds 3 --json FILE
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from posebridge.errors import InputError
from posebridge.recipes.synthshift import SynthShiftConfig, run_synthshift
from posebridge.report.page import write_report
from posebridge.synthesis.domains import Track
from posebridge.training.options import Hardware

COLUMNS = ("source_on_source", "source_only", "adapted", "supervised_target", "gap_closed", "minutes")
METHODS = ("source_only", "mean_teacher")
Row = dict[str, float | str | int | None]


@dataclass(frozen=True)
class Benchmark:
    """Run SynthShift and print its table."""

    track: Track = "hand-rgb"
    """Which track. hand-rgb and body-rgb are told in PCK@0.05, hand-depth in mm of mean joint error."""

    methods: str = "source_only,mean_teacher"
    """Methods, separated by commas. source_only is measured with every other one, from the same source model."""

    size: Literal["small", "full"] = "small"
    """small runs on two CPU cores, full on a GPU."""

    seeds: int = 3
    """Number of seeds, from 0 on."""

    out: Path = Path("runs/synthshift")
    """Folder of the runs; finished stages there are not trained again."""

    sets: Path | None = None
    """Folder where rendered sets are kept as shards, and read from; without it they are rendered in memory."""

    json: Path | None = None
    """Where the rows go."""

    hardware: Hardware = field(default_factory=Hardware)


def run(config: Benchmark) -> list[Row]:
    """All rows. Raises ``InputError`` for a method that there isn't."""
    rows: list[Row] = []
    methods = config.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        raise InputError(f"unknown methods: {', '.join(sorted(unknown))}; choose from {', '.join(METHODS)}")
    for seed in range(config.seeds):
        folder = config.out / f"{config.track}-{config.size}-{seed}"
        outcome = run_synthshift(
            SynthShiftConfig(config.track, "mean_teacher", config.size, seed, config.sets), folder, config.hardware
        )
        write_report(outcome.record, folder / "report.html")
        row = outcome.row()
        if "source_only" in methods:
            rows.append({**row, "method": "source_only", "adapted": row["source_only"], "gap_closed": 0.0})
        if "mean_teacher" in methods:
            rows.append(row)
        if config.json is not None:
            config.json.write_text(json.dumps(rows, indent=1))
    return rows


def table(rows: list[Row]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    lines = ["| method | seeds | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        cells = []
        for column in COLUMNS:
            values = np.array([row[column] for row in own if row[column] is not None], dtype=float)
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
            digits = 3 if column == "gap_closed" or own[0]["metric"] == "pck_005" else 2
            cells.append(f"{values.mean():.{digits}f} ± {error:.{digits}f}" if len(values) else "-")
        lines.append(f"| {method} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Benchmark))))
    except InputError as error:
        raise SystemExit(f"synthshift: {error}") from None
