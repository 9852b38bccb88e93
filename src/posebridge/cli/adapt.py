"""``posebridge adapt``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import run_and_print
from posebridge.experiments.configs import AdaptConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class AdaptCommand:
    """Adapt from rendered hands or people to your own images or video, without a label of yours.

    Trains a source model on renders (or takes one with --source), adapts it to the target, predicts the target's
    frames, and writes model, predictions and report into the run's folder.
    """

    config: Annotated[AdaptConfig, arg(name="")]

    out: Path
    """Folder of the run; a run that was stopped there is resumed."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Adapt, and print where the outputs are."""
        run_and_print(self.config, self.out, self.hardware)
