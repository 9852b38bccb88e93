"""``posebridge train``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from posebridge.cli.running import run_and_print
from posebridge.experiments.configs import TrainConfig
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class TrainCommand:
    """Train on a labelled public dataset, or on renders, adapt to another dataset, and score on its test split.

    Name each dataset by NAME=PATH, followed by its options: --target nyu=PATH views=1,2,3. A RECIPE names the
    datasets, so that paths are enough: posebridge train rhd-to-h3d --source PATH --target PATH. No method but
    supervised-target reads labels of the target. Writes model, predictions, and a report with the papers' numbers
    beside the run's. docs/training-on-datasets.md lists the folders of each dataset.
    """

    config: Annotated[TrainConfig, arg(name="")]

    out: Path
    """Folder of the run; a run that was stopped there is resumed."""

    hardware: Annotated[Hardware, arg(name="")] = field(default_factory=Hardware)

    def run(self) -> None:
        """Train, and print scores and where the outputs are."""
        run_and_print(self.config, self.out, self.hardware)
