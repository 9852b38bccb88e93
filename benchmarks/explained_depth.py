"""Share of the measured depth of a hand that its predicted mesh explains, on a user's depth frames.

python benchmarks/explained_depth.py FOLDER --intrinsics FX FY CX CY --depth-unit-mm 0.125

Each hand is predicted in one frame, by the shipped model unless another one is named, and nothing is fitted to it. A
measurement in the cube around the hand is explained if the mesh lies within a centimetre of it.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
import tyro
from tyro.conf import arg

from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, blob_between, open_depth
from posebridge.data.target_config import DepthTargetConfig
from posebridge.deployment.depth_predictor import DepthHandPredictor
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.refined_crops import depth_batches
from posebridge.deployment.shipped_models import ModelRef, model_path
from posebridge.errors import InputError
from posebridge.fitting.hand_fitting import HandFittingConfig


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    target: Annotated[DepthTargetConfig, arg(name="")]

    model: ModelRef = "hand-depth"
    """A shipped model, the folder of a run or of a model."""

    fit_steps: int = 0
    """Steps in which each mesh is fitted to its depth; 0 predicts it alone."""


def table(options: Options) -> str:
    """Markdown. Raises ``InputError`` for frames that can't be read."""
    loaded = load_model(model_path(options.model), DEPTH_HAND)
    spec = loaded.spec
    fitting = HandFittingConfig(options.fit_steps) if options.fit_steps else None
    predictor = DepthHandPredictor(spec, loaded.network, None, fitting)
    crop = CubeCropConfig(spec.size_px, spec.cube_m, options.target.hand)
    crops = DepthCrops(open_depth(options.target), crop, blob_between(*options.target.reach_m))
    keys, explained, errors_m = [], [], []
    for batch in depth_batches(crops, replace(predictor, fitting=None), size=8):
        hands = predictor(batch)
        keys += batch.key
        explained.append(hands.explained_frac)
        errors_m.append(hands.depth_error_m)
    if not keys:
        raise InputError(f"{options.target.path}: no frame shows a hand that can be cut out")
    explained_frac, error_m = torch.cat(explained), torch.cat(errors_m)
    rows = [
        f"| {key} | {100 * frac:.1f} | {1000 * error:.1f} |"
        for key, frac, error in zip(keys, explained_frac.tolist(), error_m.tolist(), strict=True)
    ]
    mean = f"| **mean of {len(keys)}** | **{100 * explained_frac.mean():.1f}** | {1000 * error_m.nanmean():.1f} |"
    lines = ["| frame | explained, % | median distance, mm |", "|---|---|---|", *rows, mean]
    return "\n".join(lines + [f"\nleft out: {key}: {reason}" for key, reason in crops.skipped.items()])


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"explained_depth: {error}") from None
