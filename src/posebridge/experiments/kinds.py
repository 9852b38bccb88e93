"""The table of runs: the config of each kind, the function that runs it, and the lines that end it.

Imports no torch. A function's module is imported when it runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from posebridge.contracts.config_file import load_config
from posebridge.contracts.plain import with_absolute_paths
from posebridge.contracts.run_layout import RunLayout
from posebridge.errors import InputError
from posebridge.experiments.configs import (
    AdaptConfig,
    AdaptDepthConfig,
    DemoConfig,
    SynthShiftConfig,
    TrainConfig,
    TrainDetectorConfig,
    TrainSourceConfig,
)
from posebridge.experiments.summaries import (
    demo_summary,
    detector_summary,
    outputs_summary,
    source_summary,
    synthshift_summary,
    train_summary,
)
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json
from posebridge.training.options import Hardware


@dataclass(frozen=True)
class RunKind:
    """One kind of run."""

    name: str  # at the top of config.yaml
    config: type
    function: str  # module:function within posebridge.experiments, called with config, folder and hardware
    summary: Callable[[Any, Any, Path], list[str]]  # of config, the function's result, and the folder

    def run(self, config: Any, folder: Path, hardware: Hardware) -> Any:
        """The result of the run."""
        module, name = self.function.split(":")
        return getattr(import_module(f"posebridge.experiments.{module}"), name)(config, folder, hardware)


_KINDS = (
    RunKind("demo", DemoConfig, "demo:run_demo", demo_summary),
    RunKind("synthshift", SynthShiftConfig, "synthshift:run_synthshift", synthshift_summary),
    RunKind("adapt", AdaptConfig, "adapt:run_adapt", outputs_summary),
    RunKind("adapt-depth", AdaptDepthConfig, "adapt_depth:run_adapt_depth", outputs_summary),
    RunKind("train", TrainConfig, "train:run_train", train_summary),
    RunKind("train-source", TrainSourceConfig, "train_source:run_train_source", source_summary),
    RunKind("train-detector", TrainDetectorConfig, "train_detector:run_train_detector", detector_summary),
)
KINDS: Mapping[str, RunKind] = {kind.name: kind for kind in _KINDS}


def run(config: Any, folder: Path, hardware: Hardware) -> Any:
    """Start the run of a config, or go on with it. Paths become absolute, so that it can be resumed from anywhere."""
    return kind_of(config).run(with_absolute_paths(config), folder, hardware)


def run_and_summarise(config: Any, folder: Path, hardware: Hardware) -> list[str]:
    """As ``run``; returns the lines that a command prints at the end."""
    return kind_of(config).summary(config, run(config, folder, hardware), folder)


def kind_of(config: Any) -> RunKind:
    """The kind of run that a config is for."""
    return next(kind for kind in _KINDS if kind.config is type(config))


def load_run_config(folder: Path) -> Any:
    """The config of the run in a folder.

    Raises ``InputError`` where there is no run, and for a run of another version of posebridge whose config doesn't
    fit this one.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder of a run")
    layout = RunLayout(folder)
    try:
        return load_config(layout.config, {kind.name: kind.config for kind in _KINDS})[1]
    except InputError:
        written_by = _version_of(layout)
        if layout.config.is_file() and written_by not in (None, version("posebridge")):
            raise InputError(
                f"{folder} was written by an earlier version of posebridge ({written_by}): start the run again with "
                "another --out"
            ) from None
        raise


def _version_of(layout: RunLayout) -> str | None:
    """The version of posebridge that wrote a run; None where its environment can't be read."""
    try:
        return parse_json(read_file(layout.environment))["posebridge"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
