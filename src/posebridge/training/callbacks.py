"""What happens beside the steps: checkpoints, the table of metrics, progress."""

import csv
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from tqdm import tqdm

from posebridge.contracts.files import write_atomically
from posebridge.errors import InputError
from posebridge.training.stage import PoseStage, Stage, Terms


class Checkpoint(L.Callback):
    """Writes ``last.ckpt``, whole or not at all, every so many seconds of training and every ``every`` steps."""

    def __init__(self, folder: Path, seconds: float = 60.0, every: int = 0):
        self.path = folder / "last.ckpt"
        self.seconds = seconds
        self.every = every
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        due = time.monotonic() - self._saved_at > self.seconds
        if due or (self.every and trainer.global_step % self.every == 0):
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save now. Raises ``InputError`` where the folder or the disk refuses; the old file then stays."""
        partial = self.path.with_name(".last.ckpt.part")
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                partial.replace(self.path)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "write" not in str(error):  # torch's word for a full disk
                raise
            partial.unlink(missing_ok=True)
            raise InputError(
                f"cannot write {self.path} ({error}): free some space, then continue with posebridge resume"
            ) from error
        self._saved_at = time.monotonic()


class MetricsTable(L.Callback):
    """Keeps the terms of every ``every``-th step, in the checkpoint and as ``metrics.csv``."""

    def __init__(self, folder: Path, every: int):
        self.path = folder / "metrics.csv"
        self.every = max(1, every)
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
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
    """One line: stage, share done, loss, time left."""

    def __init__(self, label: str):
        self.label = label
        self._bar: tqdm | None = None

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

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        """Called by the trainer."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)
            if trainer.global_step % 20 == 0:
                self._bar.set_postfix(loss=f"{float(latest_terms(pl_module)['loss']):.4f}", refresh=False)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Called by the trainer, also when it was interrupted."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def latest_terms(module: L.LightningModule) -> Terms:
    """The loss and its terms at the last step."""
    assert isinstance(module, Stage)
    return module.latest


@contextmanager
def evaluating(stage: PoseStage) -> Iterator[PoseStage]:
    """The stage in evaluation mode, and back to each module's own mode afterwards."""
    modes = {module: module.training for module in stage.modules()}
    stage.eval()
    try:
        yield stage
    finally:
        for module, training in modes.items():
            module.training = training
