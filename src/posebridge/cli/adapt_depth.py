"""``posebridge adapt-depth``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import default_folder, run_and_print
from posebridge.experiments.configs import AdaptDepthConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class AdaptDepthCommand:
    """Adapt from rendered hands to your own depth frames, without a label of yours.

    Trains a source model on rendered depth (or takes one with --source), adapts it to the target, predicts the
    target's frames, and writes model, joints, meshes and report into the run's folder.
    """

    config: Annotated[AdaptDepthConfig, arg(name="")]

    out: Path | None = None
    """Folder of the run; a run that was stopped there is resumed. Without it: runs/NAME, with the target's name."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Adapt, and print where the outputs are."""
        run_and_print(self.config, self.out or default_folder(self.config.target.path), self.hardware)
