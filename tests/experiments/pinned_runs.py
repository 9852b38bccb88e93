"""Tiny runs of every method and preset with fixed seeds, and checksums of the weights that they leave.

``PYTHONPATH=src:tests python tests/experiments/pinned_runs.py`` writes this machine's reference anew. Runs whose
numbers have changed here are removed from the references of other machines.
"""

import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.filmed import film
from data.on_disk import write_pictures
from data.rendered_depth import hands, write_archive
from experiments.small_runs import ONE_CPU, shrink, write_target
from experiments.transfer_sets import write_h3d, write_icvl, write_rhd
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.depth_target import DepthTargetConfig
from posebridge.data.target import TargetConfig
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.adapt_depth import run_adapt_depth
from posebridge.experiments.configs import (
    AdaptConfig,
    AdaptDepthConfig,
    DatasetRef,
    SynthShiftConfig,
    TargetFrames,
    TrainConfig,
)
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.train import run_train
from posebridge.synthesis.domains import Track
from posebridge.training import registration

REFERENCE = Path(__file__).with_name("reference_weights.json")
Checksums = dict[str, list[float]]  # by stage, and of the predictions: sum of |w|, sum of w cos(i)
References = dict[str, dict[str, Checksums]]  # by machine and run
EXACT = 1e-12  # relative difference of the same numbers on one machine


def _synthshift(track: Track, method: str, target_frames: TargetFrames = "stills") -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        shared = folder.parent / f"bounds-{track}"
        config = SynthShiftConfig(track, method, target_frames=target_frames, shared=shared)
        run_synthshift(config, folder, ONE_CPU)

    return run


def _adapt_images(folder: Path) -> None:
    target = TargetConfig(write_target(folder.parent / "images").images)
    run_adapt(AdaptConfig(method="mean-teacher", target=target, source="renders", domain="studio"), folder, ONE_CPU)


def _adapt_video(folder: Path) -> None:
    """From the model of the run on images."""
    video = folder.parent / "clip.mp4"
    write_pictures(video, film(0, 16))
    source = folder.parent / "adapt mean-teacher"
    config = AdaptConfig(
        method="geometric-reconstruction", target=TargetConfig(video), source=source, domain="studio", stride=(4, 8)
    )
    run_adapt(config, folder, ONE_CPU)


def _adapt_depth(folder: Path) -> None:
    file = write_archive(folder.parent / "depth.npz", hands(2))
    config = AdaptDepthConfig(source="renders", target=DepthTargetConfig(file), domain="studio")
    run_adapt_depth(config, folder, ONE_CPU)


def _depth_fusion(folder: Path) -> None:
    run_synthshift(SynthShiftConfig("hand-depth", "multi-view-fusion"), folder, ONE_CPU)


def _depth_transfer(folder: Path) -> None:
    root = folder.parent / "icvl"
    write_icvl(root)
    run_train(TrainConfig(target=DatasetRef("icvl", root), method="multi-view-fusion"), folder, ONE_CPU)


def _transfer(folder: Path) -> None:
    source, target = folder.parent / "rhd", folder.parent / "h3d"
    write_rhd(source)
    write_h3d(target)
    run_train(TrainConfig(source=DatasetRef("rhd", source), target=DatasetRef("h3d", target)), folder, ONE_CPU)


GROUPS: dict[str, dict[str, Callable[[Path], None]]] = {
    "synthshift": {
        "hand-rgb mean-teacher": _synthshift("hand-rgb", "mean-teacher"),
        "hand-rgb integrated-pseudo-labels": _synthshift("hand-rgb", "integrated-pseudo-labels", "videos"),
        "hand-rgb geometric-reconstruction": _synthshift("hand-rgb", "geometric-reconstruction", "videos"),
        "body-rgb mean-teacher": _synthshift("body-rgb", "mean-teacher"),
        "hand-depth mean-teacher": _synthshift("hand-depth", "mean-teacher"),
    },
    "adapt": {
        "adapt mean-teacher": _adapt_images,
        "adapt geometric-reconstruction": _adapt_video,
        "rhd-to-h3d geometric-reconstruction": _transfer,
    },
    "depth": {
        "adapt multi-view-fusion": _adapt_depth,
        "synthshift multi-view-fusion": _depth_fusion,
        "renders-to-icvl multi-view-fusion": _depth_transfer,
    },
}


def train(group: str, folder: Path) -> dict[str, Checksums]:
    """The checksums of every run of a group, and of the source models and upper bounds that SynthShift's runs share."""
    folder.mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        patch.setattr(registration, "_SOURCE_BATCHES", 1)  # of which limits of joint angles are taken
        patch.setattr(registration, "_SOURCE_BATCH", 8)
        for name, run in GROUPS[group].items():
            run(folder / name)
    torch.set_num_threads(threads)
    shared = sorted(path.name for path in folder.glob("bounds-*"))
    return {name: checksums(folder / name) for name in (*GROUPS[group], *shared)}


def checksums(run: Path) -> Checksums:
    """By stage, without its number, and of ``predictions.npz`` where there is one.

    Of a stage: the weights that it keeps, the terms of its steps, and the scores of its candidates.
    """
    sums: Checksums = {}
    for stage in run.glob("stages/*"):
        name = stage.name.split("-", 1)[1]
        sums[f"{name} weights"] = _of_weights(stage / "result.safetensors")
        sums[f"{name} terms"] = _sums(np.loadtxt(stage / "metrics.csv", delimiter=",", skiprows=1)[:, 1:].sum(1))
        candidates = json.loads((stage / "stage.json").read_text())["candidates"]
        if candidates:
            sums[f"{name} candidates"] = _sums(np.array([candidate["score"] for candidate in candidates]))
    assert sums, f"{run} has no stage"
    if (run / "predictions.npz").exists():
        uv_px = KeypointSet.load(run / "predictions.npz").uv_px
        assert uv_px is not None
        sums["predictions"] = _sums(uv_px)
    return dict(sorted(sums.items()))


def _of_weights(file: Path) -> list[float]:
    """Summed over tensors, each with indices of its own, so that names and their order don't count."""
    tensors = [_sums(tensor.double().numpy()) for tensor in load_file(file).values()]
    return np.sort(np.array(tensors), axis=0).sum(0).tolist()


def _sums(values: np.ndarray) -> list[float]:
    flat = values.astype(np.float64).ravel()
    return [float(np.abs(flat).sum()), float((flat * np.cos(np.arange(flat.size))).sum())]


def machine() -> str:
    """What the last digits depend on: the processor and the version of torch."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    tiles = " with AMX" if torch.cpu.get_capabilities().get("amx_bf16", False) else ""
    return f"{models[0].split(': ')[-1] if models else platform.machine()}{tiles}, torch {torch.__version__}"


def difference(found: list[float], expected: list[float]) -> float:
    """Of both sums, relative to the sum of absolute values."""
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) / max(expected[0], 1e-9)


def _write_reference() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = {run: sums for group in GROUPS for run, sums in train(group, Path(folder) / group).items()}
    references: References = json.loads(REFERENCE.read_text())
    before = references.get(machine(), {})
    changed = {run for run, sums in before.items() if not _same(runs.get(run), sums)}
    for other in references.values():
        for run in changed & other.keys():
            del other[run]
    REFERENCE.write_text(json.dumps({**references, machine(): runs}, indent=2) + "\n")


def _same(found: Checksums | None, expected: Checksums) -> bool:
    if found is None or found.keys() != expected.keys():
        return False
    return all(difference(sums, expected[name]) <= EXACT for name, sums in found.items())


if __name__ == "__main__":
    _write_reference()
