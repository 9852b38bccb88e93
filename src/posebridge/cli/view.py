"""``posebridge view``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from posebridge.errors import InputError


@dataclass(frozen=True)
class ViewCommand:
    """Show predictions over time: frames with boxes and skeletons, joints and meshes in space, curves of confidence.

    Writes a recording for the Rerun viewer and opens it. Needs the extra posebridge[view].
    """

    folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a run, or of predictions."""

    out: Path | None = None
    """Write the recording to this file (.rrd), and don't open it. Without it: view.rrd in the folder, and open it."""

    every: int = 1
    """Record every n-th prediction only, for smaller files."""

    def __post_init__(self):
        if self.every < 1:
            raise InputError(f"cannot record every {self.every}th prediction: give 1 or more")

    def run(self) -> None:
        """Write the recording, and open it."""
        from posebridge.experiments.view import open_viewer, record_view

        recorded = record_view(self.folder, self.out, self.every)
        print(recorded)
        if self.out is None:
            problem = open_viewer(recorded.file)
            if problem:
                print(problem)
