"""Labelled hand samples a second (RGB, depth, mask, keypoints), where the time goes, and other ways to the same depth.

    python benchmarks/rendering.py --out docs/tables/rendering.md

Everything is measured in one run, best of several repeats: compare the ratios, not the seconds.
"""

import cProfile
import pstats
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from posebridge.bodies.anny import hand
from posebridge.draw import generator_for
from posebridge.rendering.rasterise import rasterise as rasterise_torch
from posebridge.rendering.rasterise_warp import rasterise as rasterise_warp
from posebridge.synthesis.hand_domains import STREET
from posebridge.synthesis.hand_scene import PlacedHands, place_hands
from posebridge.synthesis.stream import CHUNK, Samples

STAGES = {
    "pose, shape, skin, camera": "place_hands",
    "rasterise": "rasterise",
    "shade (normals, albedo, occlusion, shadow, lights)": "_shade_hands",
    "background": "sample_backgrounds",
    "camera (blur, noise, JPEG)": "apply_appearance",
}


@dataclass(frozen=True)
class Options:
    """Measure rendering."""

    size_px: int = 128
    """Side of the images."""

    workers: int = 2
    """Processes that render at once."""

    seconds: float = 8.0
    """How long each figure is measured."""

    out: Path | None = None
    """Where the table goes, as Markdown; printed in any case."""


def rate(size_px: int, first: int, seconds: float) -> float:
    """Samples a second of this process, one thread, after a warm-up."""
    torch.set_num_threads(1)
    samples = Samples(STREET, size_px, seed=0)
    samples.chunk(first)
    start, chunks = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        samples.chunk(first + chunks)
        chunks += 1
    return chunks * CHUNK / (time.perf_counter() - start)


def shares(size_px: int, chunks: int = 12) -> dict[str, float]:
    """Share of the time of each stage, by the profiler."""
    torch.set_num_threads(1)
    samples = Samples(STREET, size_px, seed=1)
    samples.chunk(0)
    profile = cProfile.Profile()
    profile.enable()
    for index in range(chunks):
        samples.chunk(index)
    profile.disable()
    stats = pstats.Stats(profile).get_stats_profile().func_profiles
    total = stats["render_hands"].cumtime
    found = {name: stats[function].cumtime / total for name, function in STAGES.items()}
    # The shadow's own rasterisation is counted with shading.
    shadow = stats["shadow_map"].cumtime / total
    found["rasterise"] -= min(shadow, found["rasterise"] / 2)
    return {**found, "the rest": max(0.0, 1 - sum(found.values()))}


def best_ms(function: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest of several calls."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def depth_routes(size_px: int) -> dict[str, float]:
    """Milliseconds an image for the depth of the same 32 hands by three routes, one thread."""
    torch.set_num_threads(1)
    model = hand("right")
    placed = place_hands(STREET, model, 32, size_px, generator_for(0, 0))
    faces, K = model.rig.faces, placed.camera.K
    routes = {
        "posebridge, Warp": best_ms(lambda: rasterise_warp(placed.vertices_m, faces, K, size_px, size_px), 10) / 32,
        "posebridge, torch reference": best_ms(
            lambda: rasterise_torch(placed.vertices_m[:1], faces, K[:1], size_px, size_px), 1
        ),
    }
    try:
        routes["Open3D ray casting"] = best_ms(lambda: open3d_depth(placed, faces, size_px), 3) / 32
    except ImportError:
        print("open3d is not installed (pip install posebridge[benchmarks]); its row is left out")
    return routes


def open3d_depth(placed: PlacedHands, faces: torch.Tensor, size_px: int) -> list[object]:
    """Depth by Open3D's ray casting: a scene, rays and a hit distance for each hand."""
    import open3d as o3d

    depths = []
    triangles = o3d.core.Tensor(faces.int().numpy().astype("uint32"))
    for vertices, K in zip(placed.vertices_m, placed.camera.K, strict=True):
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        scene.add_triangles(o3d.core.Tensor(vertices.contiguous().numpy()), triangles)
        # Open3D puts pixel centres at half integers.
        intrinsic = K.double().clone()
        intrinsic[:2, 2] += 0.5
        rays = scene.create_rays_pinhole(
            o3d.core.Tensor(intrinsic.numpy()), o3d.core.Tensor(torch.eye(4).double().numpy()), size_px, size_px
        )
        depths.append(scene.cast_rays(rays, nthreads=1)["t_hit"].numpy())
    return depths


def main(options: Options) -> None:
    """Measure and print."""
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [
            pool.submit(rate, options.size_px, 1_000 * worker, options.seconds) for worker in range(options.workers)
        ]
        total = sum(job.result() for job in jobs)
    single = rate(options.size_px, 0, options.seconds)
    lines = [
        f"Street hands, {options.size_px} px, RGB + depth + mask + keypoints, CPU.",
        "",
        "| | samples a second |",
        "|---|---|",
        f"| {options.workers} processes of one thread | {total:.0f} |",
        f"| 1 process of one thread | {single:.0f} |",
        "",
        "| stage | share of the time |",
        "|---|---|",
        *(f"| {name} | {share:.0%} |" for name, share in shares(options.size_px).items()),
        "",
        "| depth of one hand, one thread | ms | against ours |",
        "|---|---|---|",
    ]
    routes = depth_routes(options.size_px)
    ours = routes["posebridge, Warp"]
    lines += [f"| {name} | {ms:.2f} | {ms / ours:.1f}x |" for name, ms in routes.items()]
    print("\n".join(lines))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
