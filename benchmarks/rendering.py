"""Labelled samples a second of every track, the time of each stage, and other renderers of the same depth.

    python benchmarks/rendering.py

All numbers are of one run, the best of several repeats: compare the ratios, not the seconds.
"""

import cProfile
import pstats
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from posebridge.draw import generator_for
from posebridge.rendering.rasterise import rasterise as rasterise_torch
from posebridge.rendering.rasterise_warp import rasterise as rasterise_warp
from posebridge.synthesis.domains import Track, find_domain
from posebridge.synthesis.hand_domains import STREET
from posebridge.synthesis.hand_subject import HandSubject
from posebridge.synthesis.scene import place_subjects
from posebridge.synthesis.stream import CHUNK, Samples, VideoSamples
from posebridge.synthesis.subject import PlacedSubjects

STAGES = {
    "draw pose and shape": "sample_pose_shape",
    "pose, skin, camera": "place_subjects",
    "rasterise": "rasterise",
    "shade (normals, albedo, occlusion, shadow, lights)": "_radiance",
    "background": "sample_backgrounds",
    "camera (blur, noise, JPEG)": "apply_appearance",
}


@dataclass(frozen=True)
class Options:
    """Measure rendering."""

    size_px: int = 128
    """Side of the images."""

    workers: int = 2
    """Processes that render in parallel, with one thread each."""

    seconds: float = 8.0
    """Seconds of each measurement."""

    out: Path | None = None
    """File for the tables in Markdown, which are also printed."""


def rate(track: Track, size_px: int, first: int, seconds: float) -> float:
    """Scenes a second of this process, one thread, after a warm-up."""
    torch.set_num_threads(1)
    samples = Samples(find_domain(track, "street"), size_px, seed=0)
    samples.chunk(first)
    start, chunks = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        samples.chunk(first + chunks)
        chunks += 1
    return chunks * CHUNK / (time.perf_counter() - start)


def total_rate(track: Track, options: "Options") -> float:
    """Scenes a second of several processes together."""
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [
            pool.submit(rate, track, options.size_px, 1_000 * worker, options.seconds)
            for worker in range(options.workers)
        ]
        return sum(job.result() for job in jobs)


def video_memory_mb(size_px: int, frames: int = 1_000) -> tuple[float, float]:
    """Peak memory of this process in MB after the first chunks of one long video, and after all of it."""
    torch.set_num_threads(1)
    video, marks = VideoSamples(STREET, size_px, seed=0, frames=frames), []
    for index, _ in enumerate(video.chunks(frames)):
        if index == 3:
            marks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return marks[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shares(size_px: int, chunks: int = 12) -> dict[str, float]:
    """Fraction of the time of each stage, by the profiler."""
    torch.set_num_threads(1)
    samples = Samples(STREET, size_px, seed=1)
    samples.chunk(0)
    profile = cProfile.Profile()
    profile.enable()
    for index in range(chunks):
        samples.chunk(index)
    profile.disable()
    stats = pstats.Stats(profile).get_stats_profile().func_profiles
    total = stats["render_stills"].cumtime
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
    """Milliseconds per image for the depth of the same 32 hands by three renderers, one thread."""
    torch.set_num_threads(1)
    subject, generator = HandSubject(STREET), generator_for(0, 0)
    placed = place_subjects(subject, subject.sample_pose_shape(32, generator), size_px, generator)
    faces, K = subject.faces, placed.camera.K
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


def open3d_depth(placed: PlacedSubjects, faces: torch.Tensor, size_px: int) -> list[object]:
    """Depth by Open3D's ray casting: a scene, rays and a hit distance for each hand."""
    import open3d as o3d  # pyright: ignore[reportMissingImports]

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
    """Measure, print, and write to a file if given."""
    with ProcessPoolExecutor(1) as pool:  # a process of its own, so that only the video counts
        early_mb, late_mb = pool.submit(video_memory_mb, options.size_px).result()
    lines = [
        f"Street domains, {options.size_px} px, CPU, all labels. {options.workers} processes of one thread each.",
        "",
        "| track | scenes a second |",
        "|---|---|",
        f"| hand-rgb: colour, depth, mask, 21 joints | {total_rate('hand-rgb', options):.0f} |",
        f"| body-rgb: colour, depth, mask, 17 joints | {total_rate('body-rgb', options):.0f} |",
        f"| hand-depth: three views, sensor, mask, 21 joints | {total_rate('hand-depth', options):.0f} |",
        f"| hand-rgb, 1 process of one thread | {rate('hand-rgb', options.size_px, 0, options.seconds):.0f} |",
        "",
        f"A video of 1,000 frames: peak memory {early_mb:.0f} MB after 128 frames, {late_mb:.0f} MB after all.",
        "",
        "| stage of a hand | fraction of the time |",
        "|---|---|",
        *(f"| {name} | {share:.0%} |" for name, share in shares(options.size_px).items()),
        "",
        "| depth of one hand, one thread | ms | relative to Warp |",
        "|---|---|---|",
    ]
    routes = depth_routes(options.size_px)
    warp_ms = routes["posebridge, Warp"]
    lines += [f"| {name} | {ms:.2f} | {ms / warp_ms:.1f}x |" for name, ms in routes.items()]
    print("\n".join(lines))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
