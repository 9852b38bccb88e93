"""The ``posebridge`` command: the table of commands, and ``main``, which runs one of them.

A command is a frozen dataclass. Its flags are the fields of the configs that it holds, and its ``run`` calls one
function. Heavy libraries are imported inside ``run``, so that help appears at once and ``report`` never loads torch.
"""

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

import tyro

from posebridge.cli.adapt import AdaptCommand
from posebridge.cli.adapt_depth import AdaptDepthCommand
from posebridge.cli.demo import DemoCommand
from posebridge.cli.doctor import DoctorCommand
from posebridge.cli.predict import PredictCommand
from posebridge.cli.predict_depth import PredictDepthCommand
from posebridge.cli.render import RenderCommand
from posebridge.cli.report import ReportCommand
from posebridge.cli.resume import ResumeCommand
from posebridge.cli.score import ScoreCommand
from posebridge.cli.train import TrainCommand
from posebridge.errors import InputError

INPUT_ERROR, INTERRUPTED = 2, 130


class Command(Protocol):
    """What every command has."""

    def run(self) -> None:
        """Do the work; raise ``InputError`` for bad input."""
        ...


COMMANDS: Mapping[str, type[Command]] = {
    "demo": DemoCommand,
    "render": RenderCommand,
    "adapt": AdaptCommand,
    "adapt-depth": AdaptDepthCommand,
    "train": TrainCommand,
    "predict": PredictCommand,
    "predict-depth": PredictDepthCommand,
    "score": ScoreCommand,
    "resume": ResumeCommand,
    "report": ReportCommand,
    "doctor": DoctorCommand,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 2 for bad input (an error of one line), or 130 after ctrl-c."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold bytes that are no UTF-8
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            dict(COMMANDS),
            prog="posebridge",
            description="Train hand and body pose estimators without one label from the place where they will be used.",
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        command.run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return INPUT_ERROR
    except BrokenPipeError:  # the reader of the output has ended, such as head
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("stopped: finished results are on disk", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
