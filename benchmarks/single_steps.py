"""Steps of a stage without the callbacks of a run."""

import lightning as L

from posebridge.training.options import Hardware
from posebridge.training.stage import Stage


def with_plain_trainer(stage: Stage) -> Stage:
    """The stage with a trainer on the CPU in the machine's precision, which writes and prints nothing."""
    stage.trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        precision=Hardware().lightning_precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return stage
