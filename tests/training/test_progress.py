"""The progress bar of a stage, and the remaining time of the whole run."""

from types import SimpleNamespace

import pytest
import torch

from posebridge.training import callbacks
from posebridge.training.callbacks import Progress, minutes


@pytest.mark.parametrize(("seconds", "words"), [(0, "<1 min"), (59.9, "<1 min"), (60, "1 min"), (200, "3 min")])
def test_minutes(seconds, words):
    assert minutes(seconds) == words


def test_remaining_time_of_the_run(monkeypatch):
    """100 steps that take three seconds each; 80 of this stage and 300 later ones are left after the 20th."""
    now = [1000.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(callbacks, "latest_terms", lambda module: {"loss": torch.tensor(0.5)})
    trainer = SimpleNamespace(is_global_zero=True, max_steps=100, global_step=10)
    progress = Progress("1 source", later_steps=300)
    progress.on_train_start(trainer, None)
    trainer.global_step, now[0] = 20, 1030.0
    progress.on_train_batch_end(trainer, None, None, None, 0)
    assert progress._bar is not None
    assert progress._bar.postfix == "loss=0.5000, run_left=19 min"
    progress.on_train_end(trainer, None)
