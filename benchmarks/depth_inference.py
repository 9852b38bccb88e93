"""Time of one depth frame, from the frame to joints and mesh, and of each part.

python benchmarks/depth_inference.py --threads 2

Weights are random, which changes no time. The paper reports 9.4 ms for two stacks on an RTX 3090.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
import tyro

from posebridge.bodies.parametric_hand import hand_meshes
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.cube_views import CubeViews
from posebridge.data.depth_centre import depth_centre
from posebridge.data.frames import RawFrame
from posebridge.deployment.depth_predictor import DepthHandPredictor, depth_fit
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.draw import generator_for
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    repeats: int = 50
    """Repeats of each part; the median of the last four fifths counts."""

    threads: int = 2
    """CPU threads."""

    device: str = "cpu"
    """Device of the network: cpu or cuda."""


def table(options: Options) -> str:
    """Markdown: medians in milliseconds."""
    torch.set_num_threads(options.threads)
    small, full = (find_preset("synthshift/hand-depth", name, "multi-view-fusion") for name in ("small", "full"))
    cases = {
        f"small, {small.model.size_px} px": _new_model(small, stacks=1),
        f"full, {full.model.size_px} px": _new_model(full, stacks=1),
        f"full, {full.model.size_px} px, two stacks": _new_model(full, stacks=2),
    }
    frame = _frame()
    columns: dict[str, dict[str, float]] = {}
    for name, (spec, model) in cases.items():
        columns[name] = _parts(frame, DepthHandPredictor(spec, model.to(options.device)), options)
    lines = ["| ms | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for part in next(iter(columns.values())):
        lines.append(f"| {part} | " + " | ".join(f"{column[part]:.1f}" for column in columns.values()) + " |")
    return "\n".join(lines)


def _new_model(preset: Preset, stacks: int) -> tuple[DepthHandSpec, DepthHandModel]:
    """Description and new network of a preset."""
    spec = preset.model.with_stacks(stacks)
    assert isinstance(spec, DepthHandSpec)
    return spec, DEPTH_HAND.build(spec).eval()


@torch.no_grad()
def _parts(frame: RawFrame, predictor: DepthHandPredictor, options: Options) -> dict[str, float]:
    """Milliseconds of each part."""
    crop = CubeCropConfig(predictor.spec.size_px, predictor.spec.cube_m)
    batch = crop_cube(frame, crop).to(options.device)
    fitting = replace(predictor, fitting=HandFittingConfig())
    views, network = CubeViews.of(batch, crop.cube_m), predictor.model.single
    prediction = network(views.picture(), *views.points(network.map_stride))[-1]
    mesh = hand_meshes(predictor.hand, prediction.hand, views.half_m)
    faces = predictor.hand.faces(views.depth_m.device)
    assert frame.depth_m is not None
    assert frame.K is not None
    depth_m, K = frame.depth_m, frame.K
    parts = {
        "search for the hand in the frame": lambda: depth_centre(depth_m, K),
        "crop": lambda: crop_cube(frame, crop).to(options.device),
        "network": lambda: network(views.picture(), *views.points(network.map_stride)),
        "mesh": lambda: hand_meshes(predictor.hand, prediction.hand, views.half_m),
        "difference of mesh and depth": lambda: depth_fit(views, views.in_cameras(mesh.vertices), faces),
        "all but the search": lambda: predictor(crop_cube(frame, crop).to(options.device), fused=False),
        f"the same, fitted by {HandFittingConfig.steps} steps": lambda: fitting(
            crop_cube(frame, crop).to(options.device), fused=False
        ),
    }
    return {part: _milliseconds(function, options) for part, function in parts.items()}


def _milliseconds(function: Callable[[], object], options: Options) -> float:
    times_ms = []
    for _ in range(options.repeats):
        started = time.perf_counter()
        function()
        if options.device != "cpu":
            torch.cuda.synchronize()
        times_ms.append(1000 * (time.perf_counter() - started))
    return median(times_ms[len(times_ms) // 5 :])


def _frame() -> RawFrame:
    """A rendered hand in the middle of 640 x 480 pixels."""
    batch = render_depth_hands(DEPTH_STUDIO, 1, 192, generator_for(0, 1))
    assert batch.depth_m is not None
    assert batch.camera is not None
    depth_m = np.zeros((480, 640), dtype=np.float32)
    depth_m[144:336, 224:416] = batch.depth_m[0].numpy()
    K = batch.camera.K[0].numpy().astype(np.float64)
    K[:2, 2] += [224, 144]
    assert batch.centre_m is not None
    return RawFrame(None, "frame", K=K, depth_m=depth_m, centre_m=batch.centre_m[0].numpy())


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
