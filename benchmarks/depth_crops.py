"""Errors of hands that are located in wide depth images: by the nearest blob, then around the predicted joints.

python benchmarks/depth_crops.py --model runs/depth_fusion/pretrained-small-0/multi-view-fusion/stages/1-single-view

The folder is that of a stage of ``depth_fusion.py``. Wide images show a volume of some 0.8 m around the hand, with the
domain's forearm, clutter and sensor. Only frames count in which the nearest blob lies on the hand. Errors are in mm, of
single views, nothing aligned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch, concatenate
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.filled_cubes import filled_cube
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.data.located_frames import located
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.deployment.refined_crops import predicted_middle
from posebridge.draw import generator_for
from posebridge.errors import InputError
from posebridge.experiments.synthshift_sets import TEST_SEED
from posebridge.networks.weights import load_weights
from posebridge.presets.table import find_preset
from posebridge.synthesis.depth_scene import DEPTH_DOMAINS, DepthHandDomain, render_depth_hands

_WIDE_M = 0.8  # side of the cube that a wide image shows
_HAND_M = 0.1  # nearest blobs farther from the middle of the joints are forearms and clutter; they are left out
_WIDE_JITTER_M = 0.08  # standard deviation of its centre, per coordinate
_COLUMNS = ("frames", "centre", "pixel-wise joints", "mesh's joints", "median hand", "off by over 50 mm, %")


@dataclass(frozen=True)
class Options:
    """What is located."""

    model: Path
    """Folder with the weights, result.safetensors."""

    preset: str = "small"
    """The preset that the model was trained by."""

    targets: tuple[str, ...] = ("studio", "bare", "street", "varied")
    """Domains: studio, bare, street, varied."""

    sets: int = 100
    """Hands of each domain, each seen by three cameras."""

    looks: int = 3
    """Number of crops, each around the joints that are predicted in the one before."""


@dataclass(frozen=True)
class Crops:
    """Crops of N frames, with the hands that are predicted in them."""

    batch: UnlabelledBatch
    hands: DepthHands

    def where(self, keep: np.ndarray, other: "Crops") -> "Crops":
        """These where ``keep`` (N,) is true, the other ones elsewhere."""
        chosen = concatenate([(self if kept else other).batch[i : i + 1] for i, kept in enumerate(keep)])
        mask = torch.from_numpy(keep)

        def merged(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.where(mask.view(-1, *(1,) * (a.ndim - 1)), a, b)

        fields = vars(self.hands)
        return Crops(chosen, DepthHands(**{name: merged(fields[name], getattr(other.hands, name)) for name in fields}))


def table(options: Options) -> str:
    """Markdown, some rows for each domain. Raises ``InputError`` for an unknown preset or domain."""
    spec = find_preset("synthshift/hand-depth", options.preset, "multi-view-fusion").model
    assert isinstance(spec, DepthHandSpec)
    if unknown := sorted({*options.targets} - {*DEPTH_DOMAINS}):
        raise InputError(f"unknown domain {unknown[0]!r}: give some of {', '.join(DEPTH_DOMAINS)}")
    model = DEPTH_HAND.build(spec).eval()
    load_weights(model, options.model / "result.safetensors")
    predictor = DepthHandPredictor(spec, model)
    lines = ["| mm | " + " | ".join(_COLUMNS) + " |", "|---" * (1 + len(_COLUMNS)) + "|"]
    for name in options.targets:
        truth = _wide_images(DEPTH_DOMAINS[name], spec, options.sets)
        for row, cells in _rows(predictor, truth, options.looks):
            lines.append(f"| {name}, {row} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    return "\n".join(lines)


def _wide_images(domain: DepthHandDomain, spec: DepthHandSpec, sets: int) -> LabelledBatch:
    wide = replace(domain, cube_m=_WIDE_M, centre_jitter_m=_WIDE_JITTER_M, towards_wrist_m=None)
    size_px = round(spec.size_px * _WIDE_M / spec.cube_m)
    return render_depth_hands(wide, sets, size_px, generator_for(TEST_SEED, 3))


def _rows(predictor: DepthHandPredictor, truth: LabelledBatch, looks: int) -> Iterator[tuple[str, Sequence[float]]]:
    """Names and cells of a domain's rows."""
    crop = CubeCropConfig(predictor.spec.size_px, predictor.spec.cube_m)
    assert truth.joints_m is not None
    middles_m = truth.joints_m.mean(1).double().numpy()
    frames: list[RawFrame] = []
    found: list[int] = []
    for i in range(len(truth)):
        try:
            frame = located(_frame(truth, i))
        except UnreadableFrameError:
            continue
        if np.linalg.norm(frame.centre_m - middles_m[i]) < _HAND_M:
            frames.append(frame)
            found.append(i)
    truth, middles_m = truth.take(torch.tensor(found)), middles_m[found]
    ideal = [crop_cube(replace(frame, centre_m=middle), crop) for frame, middle in zip(frames, middles_m, strict=True)]
    yield "true centre", _cells(_predicted(predictor, ideal), truth)
    last = _predicted(predictor, [crop_cube(frame, crop) for frame in frames])
    yield "nearest blob", _cells(last, truth)
    kept = last
    for look in range(2, looks + 1):
        again = _again(predictor, frames, last, crop)
        better = _again(predictor, frames, kept, crop)
        explains_more = (better.hands.explained_frac >= kept.hands.explained_frac).numpy()
        last, kept = again, better.where(explains_more, kept)
        yield f"crop {look}", _cells(last, truth)
        yield f"crop {look} where it explains as much", _cells(kept, truth)


def _again(predictor: DepthHandPredictor, frames: Sequence[RawFrame], last: Crops, crop: CubeCropConfig) -> Crops:
    """Crops around predicted joints; the last one where that cube is empty."""
    cubes = []
    for i, (frame, centre_m) in enumerate(zip(frames, predicted_middle(last.hands), strict=True)):
        cube = filled_cube(replace(frame, centre_m=None), centre_m, crop)
        cubes.append(last.batch[i : i + 1] if cube is None else cube)
    return _predicted(predictor, cubes)


def _frame(truth: LabelledBatch, i: int) -> RawFrame:
    assert truth.depth_m is not None
    assert truth.camera is not None
    return RawFrame(None, truth.key[i], frame=i, K=truth.camera.K[i].double().numpy(), depth_m=truth.depth_m[i].numpy())


def _predicted(predictor: DepthHandPredictor, cubes: Sequence[UnlabelledBatch]) -> Crops:
    batch = concatenate([*cubes])
    return Crops(batch, predictor(batch, fused=False))


def _cells(crops: Crops, truth: LabelledBatch) -> Sequence[float]:
    """The numbers of a row, in the order of ``_COLUMNS``."""
    assert truth.joints_m is not None
    assert crops.batch.centre_m is not None
    centre_mm, pixels_mm, joints_mm = (
        1000 * (found - true).norm(dim=-1)
        for found, true in (
            (crops.batch.centre_m, truth.joints_m.mean(1)),
            (crops.hands.pixel_joints_m, truth.joints_m),
            (crops.hands.joints_m, truth.joints_m),
        )
    )
    hands_mm = joints_mm.mean(1)
    return (
        len(truth),
        centre_mm.mean().item(),
        pixels_mm.mean().item(),
        joints_mm.mean().item(),
        hands_mm.median().item(),
        100 * (hands_mm > 50).float().mean().item(),
    )


if __name__ == "__main__":
    try:
        print(table(tyro.cli(Options)))
    except InputError as error:
        raise SystemExit(f"depth_crops: {error}") from None
