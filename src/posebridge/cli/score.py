"""``posebridge score``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from posebridge.evaluation.protocols import ScoreOptions


@dataclass(frozen=True)
class ScoreCommand:
    """Compare predicted joints with labels, from posebridge or from elsewhere.

    Both files are .npz with key (N,) and uv_px (N,J,2), xyz_mm (N,J,3) or uvd (N,J,3); joint_names (J,) where
    the orders may differ. Frames are matched by key, joints by name.
    """

    predictions: Annotated[Positional[Path], arg(metavar="PREDICTIONS")]
    """The predictions, such as predictions.npz."""

    truth: Annotated[Positional[Path], arg(metavar="TRUTH")]
    """The labels, such as labels.npz."""

    options: Annotated[ScoreOptions, arg(name="")] = field(default_factory=ScoreOptions)

    json: bool = False
    """Print one JSON object and nothing else."""

    def run(self) -> None:
        """Score and print."""
        from posebridge.evaluation.score import score_files
        from posebridge.evaluation.score_table import score_table

        scores = score_files(self.predictions, self.truth, self.options)
        print(json.dumps(scores.to_json()) if self.json else score_table(scores))
