"""``posebridge resume``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from posebridge.cli.running import run_and_print
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class ResumeCommand:
    """Resume a run that was stopped, from its last checkpoint."""

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of the run."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Run the config of the folder again; finished stages are loaded."""
        from posebridge.experiments.kinds import load_run_config

        run_and_print(load_run_config(self.run_folder), self.run_folder, self.hardware)
