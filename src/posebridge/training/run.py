"""A run: a folder in which stages are trained one after the other, and which can be stopped and resumed anywhere.

``stages/1-.../`` holds ``last.ckpt`` while the stage trains; then ``result.safetensors``, weights of other trained
modules that the report needs, ``metrics.csv`` and ``stage.json``, which marks the stage as finished. Finished stages
are loaded, not trained again.
"""

import logging
import os
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator

from posebridge.contracts.config_file import as_yaml, configs_equal, read_signed, signed
from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.run_layout import RunLayout, StageLayout
from posebridge.data.skipped_list import SkippedList
from posebridge.draw import check_seed
from posebridge.errors import InputError
from posebridge.networks.pose_network import PoseNetwork
from posebridge.networks.weights import load_weights, save_weights
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json
from posebridge.training.callbacks import Checkpoint, MetricsTable, Progress
from posebridge.training.checkpoint_file import AtomicCheckpointIO
from posebridge.training.freed_memory import keep_freed_memory
from posebridge.training.interruption import StoppedError, StopRequest
from posebridge.training.options import Hardware
from posebridge.training.selection import Measure, Selection
from posebridge.training.stage import PoseStage, Stage
from posebridge.training.stage_report import StageReport, read_report, train_again, write_report

_PACKAGES = ("posebridge", "torch", "lightning", "timm", "warp-lang", "anny", "numpy")
_ROWS = 200  # of a stage's table of metrics


@dataclass(frozen=True)
class SelectionPlan:
    """How a stage's checkpoint is chosen; see ``training.selection``."""

    score: Callable[[PoseNetwork], float]
    measure: Measure | None = None
    evaluations: int = 8


class Run:
    """A run: stages that are trained one after the other into a folder. A kill costs ``checkpoint_seconds`` at most."""

    def __init__(self, folder: Path, hardware: Hardware | None = None, checkpoint_seconds: float = 60.0):
        self.layout = RunLayout(folder)
        self.hardware = hardware or Hardware()
        self.checkpoint_seconds = checkpoint_seconds

    @classmethod
    def create(cls, folder: Path, kind: str, config: Any, hardware: Hardware, recipe: Any = None) -> "Run":
        """Start a run, or continue one with the same config and the same ``recipe``, the preset behind it.

        Raises ``InputError`` for a folder that can't be written, for one that holds a run of another version, config or
        recipe, for a negative seed, and for hardware that isn't there.
        """
        cls.check(folder, kind, config, hardware)
        layout = RunLayout(folder)
        _write_or_compare(layout.config, kind, config, "config")
        if recipe is not None:
            _write_or_compare(layout.recipe, "recipe", recipe, "version of its recipe")
        write_atomically(layout.environment, json_bytes(environment()))
        return cls(folder, hardware)

    @staticmethod
    def check(folder: Path, kind: str, config: Any, hardware: Hardware) -> None:
        """Refuse what ``create`` refuses, but for another recipe, before inputs are read. Writes nothing."""
        check_seed(getattr(config, "seed", 0))
        _check_present(hardware)
        check_version(folder)
        path = RunLayout(folder).config
        if path.exists():
            _compare(path, kind, config, "config")

    @staticmethod
    def unreadable(folder: Path) -> SkippedList:
        """The list of files that a run could not read; empty where no run lies in the folder yet."""
        layout = RunLayout(folder)
        skipped = SkippedList(layout.unreadable)
        if not layout.config.exists():
            skipped.clear()
        return skipped

    def train(
        self, number: int, stage: Stage, selection: SelectionPlan | None = None, later_steps: int = 0
    ) -> StageReport:
        """Train a stage, or load it if it is finished. Afterwards the stage's result holds the weights that it keeps.

        ``later_steps`` are those of the stages that follow, for the remaining time that the progress bar shows.

        Raises ``InputError`` for damaged files of the stage, a folder that can't be written or a full disk,
        ``KeyboardInterrupt`` after ctrl-c and ``TerminatedError`` after SIGTERM.
        """
        files = self.layout.stage(number, stage.name)
        if files.report.exists() and files.result.exists():
            return _finished(files, stage)
        try:
            files.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {files.folder}: {error.strerror}; choose another --out") from error
        report = self._fit(files, Progress(f"{number} {stage.name}", later_steps), stage, selection)
        save_weights(stage.result(), files.result)
        for name, module in stage.other_results().items():
            save_weights(module, files.other_result(name))
        write_report(files, report)
        files.checkpoint.unlink(missing_ok=True)
        return report

    def _fit(
        self, files: StageLayout, progress: Progress, stage: Stage, selection: SelectionPlan | None
    ) -> StageReport:
        steps = stage.schedule.steps
        table = MetricsTable(files.metrics, steps // _ROWS)
        chooser = None
        if selection is not None:
            chooser = Selection(selection.evaluations, selection.score, selection.measure)
        clock, stop = _Clock(), StopRequest()
        # The checkpoint comes last, so that it holds the other callbacks' state of the same step.
        callbacks = [clock, table, *([chooser] if chooser else []), progress]
        callbacks.append(Checkpoint(files.checkpoint, self.checkpoint_seconds, stop))
        trainer = _trainer(self.hardware, stage, callbacks)
        if isinstance(trainer.accelerator, CPUAccelerator):
            keep_freed_memory()
        last = files.checkpoint if files.checkpoint.exists() else None
        try:
            with stop.listening():
                trainer.fit(stage, ckpt_path=last, weights_only=True)
        except (StoppedError, SystemExit):  # Lightning raises SystemExit after a KeyboardInterrupt or SIGTERM
            raise stop.exception() from None
        except RuntimeError:
            if stop.made:  # the signal has ended a worker of the loader, too
                raise stop.exception() from None
            raise
        chosen = None
        if chooser is not None:
            chosen = int(chooser.best()["step"])
            assert isinstance(stage, PoseStage)
            chooser.restore_best(stage.selected())
        return StageReport(stage.name, clock.seconds, steps, tuple(chooser.candidates) if chooser else (), chosen)


class _Clock(L.Callback):
    """Seconds of training, over all the times that the stage was resumed."""

    def __init__(self):
        self.before = 0.0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def state_dict(self) -> dict:
        """Kept in the checkpoint."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restored from the checkpoint."""
        self.before = state_dict["seconds"]


def _finished(files: StageLayout, stage: Stage) -> StageReport:
    """The report of a finished stage, whose results are loaded. Raises ``InputError`` where a file is damaged."""
    report = read_report(files)
    try:
        load_weights(stage.result(), files.result)
        for name, module in stage.other_results().items():
            load_weights(module, files.other_result(name))
    except InputError as error:
        raise InputError(f"{error}; {train_again(files)}") from error
    return report


def _check_present(hardware: Hardware) -> None:
    if hardware.accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("accelerator=gpu, but PyTorch sees no GPU here: check `posebridge doctor`, or use auto")


def _trainer(hardware: Hardware, stage: Stage, callbacks: list[L.Callback]) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    _check_present(hardware)
    clip = stage.schedule.clip_norm
    return L.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        precision=hardware.lightning_precision,
        max_steps=stage.schedule.steps,
        gradient_clip_val=clip if clip else None,
        accumulate_grad_batches=stage.accumulated,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def _write_or_compare(path: Path, kind: str, config: Any, what: str) -> None:
    """Write the file, or compare it with the config. Raises ``InputError`` where they differ."""
    if path.exists():
        _compare(path, kind, config, what)
    else:
        write_atomically(path, signed(as_yaml(kind, config)).encode())


def _compare(path: Path, kind: str, config: Any, what: str) -> None:
    if not configs_equal(read_signed(path), kind, config):
        raise InputError(f"{path.parent} holds a run of another {what}: choose another --out")


def check_version(folder: Path) -> None:
    """Raise ``InputError`` for a run of another minor version of posebridge, which this version can't continue."""
    path = RunLayout(folder).environment
    if not path.exists():
        return
    try:
        written_by = str(parse_json(read_file(path))["posebridge"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: choose another --out") from error
    here = version("posebridge")
    if written_by.split(".")[:2] != here.split(".")[:2]:
        raise InputError(
            f"{folder} holds a run of posebridge {written_by}, and this is {here}: start it again with another --out"
        )


def environment() -> dict[str, str]:
    """Versions and machine, for the record."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    versions |= {package: version(package) for package in _PACKAGES}
    versions["cpu_threads"] = str(torch.get_num_threads())
    versions["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return versions


def check_space(folder: Path, needed_mb: int) -> None:
    """Raise ``InputError`` where the folder can't be written or its disk is nearly full. Creates nothing."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise InputError(f"cannot write to {folder}: {place} is not a folder; choose another --out")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {folder}: permission denied; choose another --out")
    free_mb = shutil.disk_usage(place).free // 2**20
    if free_mb < needed_mb:
        raise InputError(f"only {free_mb} MB are free at {folder}, and the run needs about {needed_mb} MB")


def command_line() -> str:
    """The command line of this process."""
    return " ".join(["posebridge", *sys.argv[1:]])
