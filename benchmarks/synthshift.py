"""The table of SynthShift: source-only, adapted and target-supervised scores, and the gap closed, over several seeds.

python benchmarks/synthshift.py --track hand-rgb --methods source-only,mean-teacher --preset small --seeds 3 --json FILE
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from over_seeds import OverSeeds, seeds_table
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig, TargetFrames
from posebridge.experiments.synthshift import SynthShiftOutcome, run_synthshift
from posebridge.methods.registry import METHODS, MethodEntry, find_method
from posebridge.synthesis.domains import Track

COLUMNS = ("source_on_source", "source_only", "adapted", "supervised_target", "gap_closed", "minutes")
Row = dict[str, Any]


@dataclass(frozen=True)
class Benchmark(OverSeeds):
    """Run SynthShift and print its table."""

    track: Track = "hand-rgb"
    """The track. Scores are PCK@0.05 of hand-rgb and body-rgb, and the mean joint error in mm of hand-depth."""

    methods: Annotated[str, tyro.conf.arg(help=f"Methods, separated by commas. There are: {', '.join(METHODS)}.")] = (
        "source-only,mean-teacher"
    )

    target_frames: TargetFrames = "stills"
    """The target: single images (stills), or frames of videos (videos), which methods that take pairs need."""

    annotation_gap: float = 0.0
    """Interpolation factor by which some joints of the source are moved. See data/annotation_gap.py."""

    out: Path = Path("runs/synthshift")
    """Folder of the runs. Stages that are finished there are not trained again."""


def run(config: Benchmark) -> list[Row]:
    """All rows. The rows of bounds come from the run of the first method that adapts.

    Raises ``InputError`` for an unknown method, and for one that the track or its frames don't fit.
    """
    rows: list[Row] = []
    methods = [find_method(name) for name in config.methods.split(",")]
    adapting = [method for method in methods if method.role == "adapted"]
    bounds = [method for method in methods if method.role != "adapted"]
    for seed in config.seed_numbers:
        name = f"{config.track}-{config.preset}-{config.target_frames}-{config.annotation_gap:g}-{seed}"
        cell = config.out / name
        for number, method in enumerate(adapting or bounds[:1]):
            shared = cell / "shared" if len(adapting) > 1 else None
            outcome = run_synthshift(_cell(config, method, seed, shared), cell / method.name, config.hardware)
            listed = [*(bounds if number == 0 else ()), *((method,) if method in adapting else ())]
            rows += [_row(outcome, entry) for entry in listed]
            config.save(rows)
    return config.with_others(rows)


def _cell(config: Benchmark, method: MethodEntry, seed: int, shared: Path | None) -> SynthShiftConfig:
    return SynthShiftConfig(
        track=config.track,
        method=method.name,
        preset=config.preset,
        seed=seed,
        target_frames=config.target_frames,
        annotation_gap=config.annotation_gap,
        shared=shared,
        sets=config.sets,
    )


def _row(outcome: SynthShiftOutcome, method: MethodEntry) -> Row:
    """The row of a method. Bounds have the number of their model as ``adapted``."""
    row = outcome.row()
    if method.role != "adapted":
        gap_closed = 0.0 if method.role == "source_only" else 1.0
        row |= {"method": method.name, "adapted": row.get(method.role), "gap_closed": gap_closed}
    groups = outcome.groups(method.role) if method.role in outcome.scores else {}
    return {**row, **groups}


def table(rows: list[Row]) -> str:
    """Mean and standard error over seeds, as Markdown."""
    groups = [name for name in rows[0] if name.startswith("PCK ")]
    columns = [*COLUMNS, *groups]
    fractions = columns if rows[0]["metric"] == "pck_005" else [*groups, "gap_closed"]
    return seeds_table(rows, "method", columns, lambda column: 3 if column in fractions else 2)


if __name__ == "__main__":
    try:
        print(table(run(tyro.cli(Benchmark))))
    except InputError as error:
        raise SystemExit(f"synthshift: {error}") from None
