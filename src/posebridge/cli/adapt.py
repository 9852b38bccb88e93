"""``posebridge adapt``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import default_folder, run_and_print
from posebridge.experiments.configs import AdaptConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class AdaptCommand:
    """Adapt to your own images or video of a hand or a person, without a label of yours.

    Starts from a shipped model, or from the one that --source names. Adapts it to the target, predicts the target's
    frames, and writes model, predictions and report into the run's folder.
    """

    config: Annotated[AdaptConfig, arg(name="")]

    out: Path | None = None
    """Folder of the run; a run that was stopped there is resumed. Without it: runs/NAME, with the target's name."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Adapt, and print where the outputs are."""
        run_and_print(self.config, self.out or default_folder(self.config.target.path), self.hardware)
