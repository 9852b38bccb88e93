"""The demo: one seed of SynthShift's small hand track on two CPU cores, with its report."""

import json
from pathlib import Path
from time import monotonic

from posebridge.experiments.configs import DemoConfig, SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.training.options import Hardware


def run_demo(config: DemoConfig, folder: Path, hardware: Hardware) -> str:
    """Render, train, adapt, score and report. Returns the line of numbers with which the demo ends."""
    started = monotonic()
    print(
        "Rendered hands in a studio have labels, rendered hands in the street have none. A model learns from the\n"
        "first, adapts to the second, and is scored on other street images. About ten minutes.",
        flush=True,
    )
    outcome = run_synthshift(SynthShiftConfig(seed=config.seed), folder, hardware, kind="demo", run_config=config)
    row = outcome.row()
    names = ("source_only", "adapted", "supervised_target", "gap_closed")
    numbers = {name: None if row[name] is None else round(float(row[name] or 0), 4) for name in names}
    return json.dumps(numbers | {"minutes": round((monotonic() - started) / 60, 2)})
