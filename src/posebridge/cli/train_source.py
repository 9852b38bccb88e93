"""``posebridge train-source``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import run_and_print
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class TrainSourceCommand:
    """Train a source model on renders alone, as a start for adapt and predict.

    Writes the model and a report with its accuracy on renders of other seeds and domains. --start continues from an
    earlier model on new renders: give another --seed.
    """

    config: Annotated[TrainSourceConfig, arg(name="")]

    out: Path
    """Folder of the run; a run that was stopped there is resumed."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Train, and print the score and where the outputs are."""
        run_and_print(self.config, self.out, self.hardware)
