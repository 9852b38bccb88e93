"""The whole story on two CPU cores: one seed of SynthShift's small hand track, with its report."""

import json
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from posebridge.recipes.synthshift import SynthShiftConfig, run_synthshift
from posebridge.report.page import write_report
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class DemoConfig:
    """What ``posebridge demo`` runs."""

    seed: int = 0


def run_demo(config: DemoConfig, folder: Path, hardware: Hardware) -> str:
    """Render, train, adapt, score and report. Returns the line of numbers with which the demo ends."""
    started = monotonic()
    print(
        "Rendered hands in a studio have labels, rendered hands in the street have none. A model learns from the\n"
        "first, adapts to the second, and is scored on street images that it has never seen. About ten minutes.",
        flush=True,
    )
    outcome = run_synthshift(SynthShiftConfig(seed=config.seed), folder, hardware, kind="demo")
    write_report(outcome.record, folder / "report.html")
    print(f"Report: {folder / 'report.html'}")
    row = outcome.row()
    names = ("source_only", "adapted", "supervised_target", "gap_closed")
    numbers = {name: None if row[name] is None else round(float(row[name] or 0), 4) for name in names}
    return json.dumps(numbers | {"minutes": round((monotonic() - started) / 60, 2)})
