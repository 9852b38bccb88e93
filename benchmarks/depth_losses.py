"""Time of the model-to-data and data-to-model losses with their gradients, against the same losses by brute force.

python benchmarks/depth_losses.py --hands 32 --size-px 128

Brute force: the readable reference rasteriser and closest-point search, which test every face at every pixel and point.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import torch
import tyro
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.fitting import depth_misfit
from posebridge.fitting.depth_misfit import (
    ClosestPointSearch,
    DepthEvidence,
    EvidenceConfig,
    data_to_model,
    model_to_data,
)
from posebridge.geometry import closest_point, closest_point_warp
from posebridge.geometry.closest_point_warp import MovingMeshSearch
from posebridge.rendering import rasterise
from posebridge.synthesis.depth_scene import DEPTH_STUDIO, render_depth_hands, with_meshes


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    hands: int = 32
    """Hands of a batch."""

    size_px: int = 128
    """Side of the depth images."""

    repeats: int = 5
    """Repeats of each measurement; the fastest counts."""

    threads: int = 2
    """CPU threads."""

    brute_force: bool = True
    """Also time the reference implementations once, which takes minutes."""

    device: str = "cpu"
    """Device of the losses: cpu or cuda."""


def table(options: Options) -> str:
    """Markdown: milliseconds of each loss."""
    torch.set_num_threads(options.threads)
    domain = DEPTH_STUDIO
    sets = -(-options.hands // domain.rigs.views)
    batch = with_meshes(render_depth_hands(domain, sets, options.size_px, generator_for(0, 1)))[: options.hands]
    batch = batch.to(options.device)
    views, config = CubeViews.of(batch, domain.cube_m), EvidenceConfig()
    evidence = DepthEvidence.from_views(views, config, generator_for(0, 2))
    assert batch.vertices_m is not None
    shifted = views.in_cubes(batch.vertices_m) + torch.tensor([0.05, -0.03, 0.04], device=options.device)
    faces = anny_hand("right").rig.faces.to(options.device)

    def step(*losses: Callable[..., Tensor]) -> Callable[[], None]:
        def run() -> None:
            vertices = shifted.clone().requires_grad_()
            torch.stack([loss(vertices, faces, evidence, config).sum() for loss in losses]).sum().backward()
            if options.device != "cpu":
                torch.cuda.synchronize()

        return run

    def fastest(run: Callable[[], None]) -> float:
        return min(_seconds(run) for _ in range(options.repeats + 1))

    lines = ["| | Warp, ms | brute force, ms | ratio |", "|---|---|---|---|"]
    rows: dict[str, Callable[[ClosestPointSearch], list[Callable[..., Tensor]]]] = {
        "model to data": lambda search: [model_to_data],
        "data to model": lambda search: [partial(data_to_model, search=search)],
        "both": lambda search: [model_to_data, partial(data_to_model, search=search)],
    }
    for name, losses in rows.items():
        fast = fastest(step(*losses(closest_point_warp.closest_points)))
        if not options.brute_force:
            lines.append(f"| {name} | {1000 * fast:.0f} | | |")
            continue
        with patch.object(depth_misfit, "rasterise", rasterise.rasterise):
            slow = _seconds(step(*losses(closest_point.closest_points)))
        lines.append(f"| {name} | {1000 * fast:.0f} | {1000 * slow:.0f} | {slow / fast:.0f} |")
    moving = fastest(step(*rows["both"](MovingMeshSearch())))
    lines.append(f"| both, in successive steps of fitting | {1000 * moving:.0f} | | |")
    title = f"{options.hands} hands at {options.size_px} px, {config.num_points} points each, {options.threads} threads"
    return f"{title}\n\n" + "\n".join(lines)


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(table(tyro.cli(Options)))
