"""The functions of ``import posebridge``."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebridge.deployment.estimator import DepthEstimator, ImageEstimator


def load(
    run_or_model: str | Path, device: str = "auto", mano: str | Path | None = None
) -> "ImageEstimator | DepthEstimator":
    """An estimator that predicts with a trained model.

    ``run_or_model``: a run's folder, a model's folder, or its ``model.safetensors``. ``device``: auto (a GPU where
    there is one), cpu, cuda, cuda:1, ... ``mano``: MANO's file, for a model of MANO's hand.
    Raises ``InputError`` for a missing or broken model, a device that isn't there, and a missing hand model.
    """
    from posebridge.deployment.estimator import load_estimator

    return load_estimator(Path(run_or_model), device, None if mano is None else Path(mano))
