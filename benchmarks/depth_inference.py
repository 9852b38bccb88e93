"""How long one depth picture takes, from the whole frame to joints and mesh, part by part.

python benchmarks/depth_inference.py --threads 2

Networks have new weights, which take as long as trained ones. The paper: 9.4 ms, two stacks, on an RTX 3090.
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
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.draw import generator_for
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.networks.depth_hand_model import DepthHandModel
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.recipes.depth_fusion import FULL, SMALL
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands


@dataclass(frozen=True)
class Options:
    """What is timed."""

    repeats: int = 50
    threads: int = 2
    device: str = "cpu"


def table(options: Options) -> str:
    """Markdown; milliseconds, medians."""
    torch.set_num_threads(options.threads)
    sizes = {
        f"small, {SMALL.size_px} px": (SMALL.size_px, SMALL.network),
        f"full, {FULL.size_px} px": (FULL.size_px, FULL.network),
        f"full, {FULL.size_px} px, two stacks": (FULL.size_px, replace(FULL.network, stacks=2)),
    }
    frame = _frame()
    columns: dict[str, dict[str, float]] = {}
    for name, (size_px, network) in sizes.items():
        spec = DepthHandSpec(network, size_px=size_px)
        model = DepthHandModel(network, ViewFusionConfig(), HAND21).eval().to(options.device)
        columns[name] = _parts(frame, DepthHandPredictor(spec, model), options)
    lines = ["| ms | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for part in next(iter(columns.values())):
        lines.append(f"| {part} | " + " | ".join(f"{column[part]:.1f}" for column in columns.values()) + " |")
    return "\n".join(lines)


@torch.no_grad()
def _parts(frame: RawFrame, predictor: DepthHandPredictor, options: Options) -> dict[str, float]:
    crop = CubeCropConfig(predictor.spec.size_px, predictor.spec.cube_m)
    batch = crop_cube(frame, crop).to(options.device)
    fitting = replace(predictor, fitting=HandFittingConfig())
    views, network = CubeViews.of(batch, crop.cube_m), predictor.model.single
    seen = network(views.picture(), *views.points(network.map_stride))[-1]
    mesh = hand_meshes(predictor.hand, seen.hand, views.half_m)
    faces = predictor.hand.faces(views.depth_m.device)
    assert frame.depth_m is not None
    assert frame.K is not None
    depth_m, K = frame.depth_m, frame.K
    found = {
        "hand looked for in the frame": lambda: depth_centre(depth_m, K),
        "crop": lambda: crop_cube(frame, crop).to(options.device),
        "network": lambda: network(views.picture(), *views.points(network.map_stride)),
        "mesh": lambda: hand_meshes(predictor.hand, seen.hand, views.half_m),
        "mesh beside the depth": lambda: depth_fit(views, views.in_cameras(mesh.vertices), faces),
        "all but looking for it": lambda: predictor(crop_cube(frame, crop).to(options.device), fused=False),
        f"the same, fitted by {HandFittingConfig.steps} steps": lambda: fitting(
            crop_cube(frame, crop).to(options.device), fused=False
        ),
    }
    return {part: _milliseconds(do, options) for part, do in found.items()}


def _milliseconds(do: Callable[[], object], options: Options) -> float:
    taken = []
    for _ in range(options.repeats):
        started = time.perf_counter()
        do()
        if options.device != "cpu":
            torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - started))
    return median(taken[len(taken) // 5 :])


def _frame() -> RawFrame:
    """A rendered hand in the middle of 640 x 480 pixels."""
    batch = render_depth_hands(DEPTH_STUDIO, 1, 192, generator_for(0, 1))
    assert batch.depth_m is not None
    assert batch.camera is not None
    whole = np.zeros((480, 640), dtype=np.float32)
    whole[144:336, 224:416] = batch.depth_m[0].numpy()
    K = batch.camera.K[0].numpy().astype(np.float64)
    K[:2, 2] += [224, 144]
    assert batch.centre_m is not None
    return RawFrame(None, "frame", K=K, depth_m=whole, centre_m=batch.centre_m[0].numpy())


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
