"""The ``posebridge`` command: parse, choose, call one function.

A command is a frozen dataclass whose fields are its flags and whose ``run`` does the work; ``COMMANDS`` lists them.
Heavy libraries are imported inside ``run``, so that help appears at once and ``report`` never loads torch.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

import tyro

from posebridge.errors import InputError
from posebridge.evaluation.protocols import ScoreOptions

INPUT_ERROR, INTERRUPTED = 2, 130


class Command(Protocol):
    """What every command can do."""

    def run(self) -> None:
        """Do the work; raise ``InputError`` for bad input."""
        ...


@dataclass(frozen=True)
class ScoreCommand:
    """Compare predicted joints with the truth, ours or anyone's.

    Both files are .npz with key (N,) and uv_px (N,J,2), xyz_mm (N,J,3) or uvd (N,J,3); joint_names (J,) where
    the orders may differ. Frames are matched by key, joints by name.
    """

    predictions: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PREDICTIONS")]
    """The predictions, such as predictions.npz."""

    truth: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TRUTH")]
    """The labels, such as labels.npz."""

    options: Annotated[ScoreOptions, tyro.conf.arg(name="")] = field(default_factory=ScoreOptions)

    json: bool = False
    """Print one JSON object and nothing else."""

    def run(self) -> None:
        """Score and print."""
        from posebridge.evaluation.score import score_files
        from posebridge.evaluation.score_table import score_table

        scores = score_files(self.predictions, self.truth, self.options)
        print(json.dumps(scores.to_json()) if self.json else score_table(scores))


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run: one HTML page that needs nothing else."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run; its record.json is read."""

    out: Path | None = None
    """Where the page goes. Without it: report.html in the run's folder."""

    def run(self) -> None:
        """Read the record, write the page."""
        from posebridge.contracts.record_file import load_record
        from posebridge.report.page import write_report

        out = self.out or self.run_folder / "report.html"
        write_report(load_record(self.run_folder), out)
        print(out)


COMMANDS: dict[str, type[Command]] = {
    "score": ScoreCommand,
    "report": ReportCommand,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for bad input (told in one line), or 130 after ctrl-c."""
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="posebridge",
            description="Train hand and body pose estimators without one label from the place where they will be used.",
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        command.run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return INPUT_ERROR
    except KeyboardInterrupt:
        print("stopped: what was finished is on disk", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
