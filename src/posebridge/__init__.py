"""posebridge: pose estimators trained without one label from the place where they will be used.

The functions below are imported at their first use, so that ``import posebridge`` doesn't wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posebridge.api import adapt, adapt_depth, load, predict, render, score, train
    from posebridge.data.datasets.dataset_ref import DatasetRef
    from posebridge.data.datasets.options import DatasetOptions
    from posebridge.data.render_config import RenderConfig
    from posebridge.data.target_config import DepthTargetConfig, TargetConfig
    from posebridge.deployment.predict_config import PredictConfig, PredictDepthConfig
    from posebridge.distribute import Workers
    from posebridge.errors import InputError
    from posebridge.evaluation.protocols import ScoreOptions
    from posebridge.experiments.configs import AdaptConfig, AdaptDepthConfig, TrainConfig
    from posebridge.training.options import Hardware

__all__ = [
    "AdaptConfig",
    "AdaptDepthConfig",
    "DatasetOptions",
    "DatasetRef",
    "DepthTargetConfig",
    "Hardware",
    "InputError",
    "PredictConfig",
    "PredictDepthConfig",
    "RenderConfig",
    "ScoreOptions",
    "TargetConfig",
    "TrainConfig",
    "Workers",
    "adapt",
    "adapt_depth",
    "load",
    "predict",
    "render",
    "score",
    "train",
]

_MODULES = {
    "AdaptConfig": "posebridge.experiments.configs",
    "AdaptDepthConfig": "posebridge.experiments.configs",
    "DatasetOptions": "posebridge.data.datasets.options",
    "DatasetRef": "posebridge.data.datasets.dataset_ref",
    "DepthTargetConfig": "posebridge.data.target_config",
    "Hardware": "posebridge.training.options",
    "InputError": "posebridge.errors",
    "PredictConfig": "posebridge.deployment.predict_config",
    "PredictDepthConfig": "posebridge.deployment.predict_config",
    "RenderConfig": "posebridge.data.render_config",
    "ScoreOptions": "posebridge.evaluation.protocols",
    "TargetConfig": "posebridge.data.target_config",
    "TrainConfig": "posebridge.experiments.configs",
    "Workers": "posebridge.distribute",
    **dict.fromkeys(("adapt", "adapt_depth", "load", "predict", "render", "score", "train"), "posebridge.api"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
