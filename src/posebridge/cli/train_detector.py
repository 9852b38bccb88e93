"""``posebridge train-detector``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import run_and_print
from posebridge.experiments.configs import TrainDetectorConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class TrainDetectorCommand:
    """Train a detector of hands and people on scenes composed of renders.

    Writes the model and its recall and precision on scenes of another seed (scores.json).
    """

    config: Annotated[TrainDetectorConfig, arg(name="")]

    out: Path
    """Folder of the run; a run that was stopped there is resumed."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Train, and print the scores and where the model is."""
        run_and_print(self.config, self.out, self.hardware)
