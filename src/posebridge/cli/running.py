"""What the commands that train share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posebridge.training.options import Hardware


def default_folder(target: Path) -> Path:
    """Where a run on a target lies if the user names no folder: ``runs/`` and the target's name."""
    return Path("runs") / target.resolve().stem


def run_and_print(config: Any, out: Path, hardware: "Hardware") -> None:
    """Run a config in the folder ``out``; print the scores and where the outputs are."""
    from posebridge.experiments.kinds import run_and_summarise

    for line in run_and_summarise(config, out, hardware):
        print(line)
