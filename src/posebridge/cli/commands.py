"""The table of commands."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from posebridge.cli.adapt import AdaptCommand
from posebridge.cli.adapt_depth import AdaptDepthCommand
from posebridge.cli.demo import DemoCommand
from posebridge.cli.doctor import DoctorCommand
from posebridge.cli.export import ExportCommand
from posebridge.cli.models import ModelsCommand
from posebridge.cli.predict import PredictCommand
from posebridge.cli.predict_depth import PredictDepthCommand
from posebridge.cli.render import RenderCommand
from posebridge.cli.report import ReportCommand
from posebridge.cli.resume import ResumeCommand
from posebridge.cli.score import ScoreCommand
from posebridge.cli.serve import ServeCommand
from posebridge.cli.synthesise import SynthesiseCommand
from posebridge.cli.train import TrainCommand
from posebridge.cli.train_detector import TrainDetectorCommand
from posebridge.cli.train_source import TrainSourceCommand
from posebridge.cli.view import ViewCommand
from posebridge.methods.registry import METHODS


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
    "train-source": TrainSourceCommand,
    "train-detector": TrainDetectorCommand,
    "predict": PredictCommand,
    "predict-depth": PredictDepthCommand,
    "synthesise": SynthesiseCommand,
    "models": ModelsCommand,
    "export": ExportCommand,
    "view": ViewCommand,
    "serve": ServeCommand,
    "score": ScoreCommand,
    "resume": ResumeCommand,
    "report": ReportCommand,
    "doctor": DoctorCommand,
}
_WITH_METHODS = ("adapt", "adapt-depth")


def with_method_flag(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``--method`` before a method's name behind the command: ``adapt mean-teacher TARGET``."""
    if len(arguments) > 1 and arguments[0] in _WITH_METHODS and arguments[1] in METHODS:
        return [arguments[0], "--method", *arguments[1:]]
    return [*arguments]
