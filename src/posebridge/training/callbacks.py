"""Callbacks of training: checkpoints, the table of metrics, progress."""

import csv
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lightning as L
from torch import nn
from tqdm import tqdm

from posebridge.contracts.files import write_atomically
from posebridge.training.interruption import StoppedError, StopRequest
from posebridge.training.stage import Stage, Terms

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Checkpoint(L.Callback):
    """Writes ``last.ckpt`` at intervals of ``seconds``, and when a stop is requested.

    It is written between batches only. In the middle of one, batch statistics are updated and parameters are not.
    """

    def __init__(self, path: Path, seconds: float, stop: StopRequest):
        self.path = path
        self.seconds = seconds
        self.stop = stop
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        due = time.monotonic() - self._saved_at > self.seconds
        # All processes need the same decision, since they save together.
        stop = trainer.strategy.reduce_boolean_decision(self.stop.made, all=False)
        if trainer.strategy.reduce_boolean_decision(due or stop or trainer.received_sigterm, all=False):
            trainer.save_checkpoint(self.path)
            self._saved_at = time.monotonic()
        if stop:
            raise StoppedError


class MetricsTable(L.Callback):
    """Records the terms of every ``every``-th step in ``metrics.csv`` and in the checkpoint."""

    def __init__(self, path: Path, every: int):
        self.path = path
        self.every = max(1, every)
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        step = trainer.global_step
        if trained_stage(pl_module).completes_step(batch_idx) and (step % self.every == 0 or step == trainer.max_steps):
            values = {name: float(value) for name, value in latest_terms(pl_module).items()}
            self.rows.append({"step": step, **values})
            self.write(trainer)

    def write(self, trainer: L.Trainer) -> None:
        """Write the table."""
        if not trainer.is_global_zero or not self.rows:
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, names, restval="")
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(self.path, text.getvalue().encode())

    def state_dict(self) -> dict:
        """Kept in the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restored from the checkpoint."""
        self.rows = state_dict["rows"]


class Progress(L.Callback):
    """Progress bar: stage, steps done, its remaining time, loss, and the remaining time of the whole run.

    ``later_steps`` are those of the stages that follow. Each is taken to last as long as a step of this stage.
    """

    def __init__(self, label: str, later_steps: int = 0):
        self.label = label
        self.later_steps = later_steps
        self._bar: tqdm | None = None
        self._begun = (0.0, 0)  # seconds and step

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by the trainer."""
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=trainer.max_steps,
                initial=trainer.global_step,
                desc=self.label,
                unit="step",
                mininterval=2.0,
                dynamic_ncols=True,
            )
            self._begun = (time.monotonic(), trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)
            if trainer.global_step % 20 == 0:
                shown = {"loss": f"{float(latest_terms(pl_module)['loss']):.4f}"}
                if self.later_steps:
                    shown["run_left"] = minutes(self._seconds_left(trainer))
                self._bar.set_postfix(shown, refresh=False)

    def _seconds_left(self, trainer: L.Trainer) -> float:
        """Of the whole run."""
        (begun, first), now = self._begun, trainer.global_step
        return (time.monotonic() - begun) / (now - first) * (trainer.max_steps - now + self.later_steps)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Called by the trainer when it was interrupted."""
        self._close()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by the trainer."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def minutes(seconds: float) -> str:
    """A duration in words: less than a minute, or whole minutes."""
    return "<1 min" if seconds < 60 else f"{round(seconds / 60)} min"


def latest_terms(module: L.LightningModule) -> Terms:
    """The loss and its terms of the last batch."""
    return trained_stage(module).latest


def trained_stage(module: L.LightningModule) -> Stage:
    """The module that a trainer gives its callbacks."""
    assert isinstance(module, Stage)
    return module


@contextmanager
def evaluating(network: ModuleT) -> Iterator[ModuleT]:
    """Puts a network or a stage into evaluation mode; restores the mode of each module afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network
    finally:
        for module, training in modes.items():
            module.training = training
