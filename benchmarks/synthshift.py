"""SynthShift's table: three numbers and the gap closed, with mean and standard error over seeds.

python benchmarks/synthshift.py --track hand-rgb --methods source_only,mean_teacher --size small --seeds 3 --json FILE
"""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.recipes.synthshift import MethodName, SynthShiftConfig, run_synthshift
from posebridge.recipes.track import Footage
from posebridge.report.page import write_report
from posebridge.synthesis.domains import Track

COLUMNS = ("source_on_source", "source_only", "adapted", "supervised_target", "gap_closed", "minutes")
ADAPTING = get_args(MethodName)
METHODS = ("source_only", *ADAPTING)
Row = dict[str, float | str | int | None]


@dataclass(frozen=True)
class Benchmark(OverSeeds):
    """Run SynthShift and print its table."""

    track: Track = "hand-rgb"
    """Which track. hand-rgb and body-rgb are told in PCK@0.05, hand-depth in mm of mean joint error."""

    methods: str = "source_only,mean_teacher"
    """Methods, separated by commas. source_only is measured with every other one, from the same source model."""

    footage: Footage = "stills"
    """What is adapted to: single images, or videos, which geometric_reconstruction needs and others can be given."""

    annotation_gap: float = 0.0
    """Plant a gap between the conventions of source and target: see recipes/annotation_gap.py."""

    out: Path = Path("runs/synthshift")
    """Folder of the runs; finished stages there are not trained again."""


def run(config: Benchmark) -> list[Row]:
    """All rows. Raises ``InputError`` for a method that there isn't."""
    rows: list[Row] = []
    methods = config.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        raise InputError(f"unknown methods: {', '.join(sorted(unknown))}; choose from {', '.join(METHODS)}")
    adapting = [method for method in ADAPTING if method in methods] or ["mean_teacher"]
    for seed in config.seed_numbers:
        cell = config.out / f"{config.track}-{config.size}-{config.footage}-{config.annotation_gap:g}-{seed}"
        bounds = cell / "bounds" if len(adapting) > 1 else None
        for method in adapting:
            outcome = run_synthshift(_cell(config, method, seed, bounds), cell / method, config.hardware)
            write_report(outcome.record, cell / method / "report.html")
            row = outcome.row()
            if "source_only" in methods and method == adapting[0]:
                only = {"method": "source_only", "adapted": row["source_only"], "gap_closed": 0.0}
                rows.append({**row, **only, **outcome.groups("source_only")})
            if method in methods:
                rows.append({**row, **outcome.groups("adapted")})
            config.keep(rows)
    return config.with_others(rows)


def _cell(config: Benchmark, method: MethodName, seed: int, bounds: Path | None) -> SynthShiftConfig:
    return SynthShiftConfig(
        config.track, method, config.size, seed, config.footage, config.annotation_gap, bounds, config.sets
    )


def table(rows: list[Row]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    groups = [name for name in rows[0] if name.startswith("PCK ")]
    columns = [*COLUMNS, *groups]
    shares = columns if rows[0]["metric"] == "pck_005" else [*groups, "gap_closed"]
    return seeds_table(rows, "method", columns, lambda column: 3 if column in shares else 2)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Benchmark))))
    except InputError as error:
        raise SystemExit(f"synthshift: {error}") from None
