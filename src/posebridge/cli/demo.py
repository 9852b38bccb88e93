"""``posebridge demo``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import run_and_print
from posebridge.experiments.configs import DemoConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class DemoCommand:
    """Run a small experiment from renders to a report, in about ten minutes on two CPU cores.

    Renders labelled hands in a studio and unlabelled hands in the street, trains on the first, adapts to the second,
    scores on other street images, and writes a report. The last line is JSON with the numbers.
    """

    config: Annotated[DemoConfig, arg(name="")] = field(default_factory=DemoConfig)

    out: Path = Path("runs/demo")
    """Folder of the run; a run that was stopped there is resumed."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Run the demo, and print its numbers."""
        run_and_print(self.config, self.out, self.hardware)
