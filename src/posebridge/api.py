"""The functions of ``import posebridge``: what the commands do, with the commands' own configs.

All of them raise ``InputError`` for bad input, as the commands print it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebridge.contracts.record import Record
    from posebridge.data.render_config import RenderConfig
    from posebridge.data.rendered_set import RenderedSet
    from posebridge.deployment.depth_estimator import DepthEstimator
    from posebridge.deployment.estimator import ImageEstimator
    from posebridge.deployment.predict_config import PredictConfig, PredictDepthConfig
    from posebridge.deployment.predict_files import PredictedFiles
    from posebridge.distribute import Workers
    from posebridge.evaluation.protocols import ScoreOptions
    from posebridge.evaluation.score import Scores
    from posebridge.experiments.configs import AdaptConfig, AdaptDepthConfig, TrainConfig
    from posebridge.training.options import Hardware


def load(
    run_or_model: str | Path, device: str = "auto", mano: str | Path | None = None
) -> "ImageEstimator | DepthEstimator":
    """An estimator that predicts with a trained model.

    ``run_or_model``: the name of a shipped model, a run's folder, a model's folder, its ``model.safetensors``, or an
    ONNX file. ``device``: auto (a GPU where there is one), cpu, cuda, cuda:1, ... ``mano``: MANO's file, for a model of
    MANO's hand.
    Raises ``InputError`` for a missing or broken model, a device that isn't there, and a missing hand model.
    """
    from posebridge.deployment.estimator import load_estimator
    from posebridge.deployment.shipped_models import as_model_ref

    return load_estimator(as_model_ref(run_or_model), device, None if mano is None else Path(mano))


def adapt(config: "AdaptConfig", out: str | Path, hardware: "Hardware | None" = None) -> "Record":
    """Adapt to a user's images or video, as ``posebridge adapt``.

    Writes model, predictions and report into the folder ``out``; a run that was stopped there is resumed. Returns the
    record: scores (with labels of the target), curves, example frames.
    """
    return _run(config, out, hardware)


def adapt_depth(config: "AdaptDepthConfig", out: str | Path, hardware: "Hardware | None" = None) -> "Record":
    """Adapt to a user's depth frames, as ``posebridge adapt-depth``. Folder and record as in ``adapt``."""
    return _run(config, out, hardware)


def train(config: "TrainConfig", out: str | Path, hardware: "Hardware | None" = None) -> "Record":
    """Train from one public dataset, or from renders, to another, as ``posebridge train``. Record as in ``adapt``."""
    return _run(config, out, hardware).record


def render(config: "RenderConfig", out: str | Path, workers: "Workers | None" = None) -> "RenderedSet":
    """Render a labelled set into the folder ``out``, as ``posebridge render``. Returns what lies there now."""
    from posebridge.contracts.plain import with_absolute_paths
    from posebridge.data.rendered_set import render_set

    return render_set(with_absolute_paths(config), Path(out), workers)


def predict(config: "PredictConfig | PredictDepthConfig") -> "PredictedFiles":
    """Predict files into a folder, as ``posebridge predict`` and ``predict-depth``. Returns what was written."""
    from posebridge.deployment.predict_config import PredictDepthConfig

    if isinstance(config, PredictDepthConfig):
        from posebridge.deployment.predict_depth import predict_depth_files

        return predict_depth_files(config)
    from posebridge.deployment.predict_files import predict_files

    return predict_files(config)


def score(predictions: str | Path, truth: str | Path, options: "ScoreOptions | None" = None) -> "Scores":
    """Compare two .npz files of joints, as ``posebridge score``. Errors in mm and pixels, PCK and AUC in [0, 1]."""
    from posebridge.evaluation.protocols import ScoreOptions
    from posebridge.evaluation.score import score_files

    return score_files(Path(predictions), Path(truth), options or ScoreOptions())


def _run(config, out: str | Path, hardware: "Hardware | None"):
    from posebridge.experiments.kinds import run
    from posebridge.training.options import Hardware

    return run(config, Path(out), hardware or Hardware())
