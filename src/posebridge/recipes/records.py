"""What a recipe leaves for the report: how a checkpoint was chosen, curves, frames to look at."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np
from torch import Tensor

from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.plain import to_plain
from posebridge.contracts.record import (
    Candidate,
    CheckpointChoice,
    GalleryFrame,
    Metric,
    Provenance,
    Record,
    Role,
    Score,
    Skipped,
)
from posebridge.contracts.section import Section
from posebridge.evaluation.evaluate import frame_errors_px, select_example_frames
from posebridge.evaluation.matching import match_keypoints
from posebridge.recipes.pipeline import History
from posebridge.representations.depth_image import depth_image
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.pseudo_label_section import pseudo_label_sections
from posebridge.training.run import StageReport, command_line, environment
from posebridge.training.selection import CRITERION


@dataclass(frozen=True)
class RunMetadata:
    """What is told of a run beside its numbers."""

    title: str
    method: str
    skeleton: Skeleton
    config: Any  # of the run
    recipe: Any  # the numbers behind it
    seed: int
    started: float  # by time.monotonic
    skipped: Mapping[str, str]
    notes: tuple[str, ...] = ()
    metric: Metric = "pck_005"


def make_record(
    story: RunMetadata,
    left: Mapping[Role, History],
    scores: Mapping[Role, Score],
    frames: tuple[GalleryFrame, ...],
    sections: tuple[Section, ...] = (),
) -> Record:
    """The record of a run, with the ``sections`` of its method.

    Checkpoint choice and pseudo-labels are those of the adapted model, or of the only one.
    """
    reports = left["adapted" if "adapted" in left else "source_only"].reports
    return Record(
        title=story.title,
        method=story.method,
        joint_names=story.skeleton.joints,
        bones=story.skeleton.bones,
        provenance=Provenance(
            command=command_line(),
            seed=story.seed,
            seconds=monotonic() - story.started,
            config={"run": to_plain(story.config), "recipe": to_plain(story.recipe)},
            versions=environment(),
            checkpoint=checkpoint_choice(reports[-1]) if reports else None,
        ),
        groups=story.skeleton.group_indices(),
        scores=scores,
        curves=learning_curves([folder for trained in left.values() for folder in trained.folders]),
        gallery=frames,
        skipped=tuple(Skipped(file, reason) for file, reason in story.skipped.items()),
        notes=story.notes,
        metric=story.metric,
        sections=(*sections, *(pseudo_label_sections(reports[-1].candidates) if reports else ())),
    )


def gallery(
    batch: Observation, prediction: KeypointSet, truth: KeypointSet | None, cube_m: float | None = None
) -> tuple[GalleryFrame, ...]:
    """Frames to look at: best, median and worst where there is truth, else evenly chosen ones. In crop pixels.

    ``cube_m`` is the side of a depth crop's cube.
    """
    position = {key: i for i, key in enumerate(batch.key)}
    errors = {} if truth is None else frame_errors_px(prediction, truth)
    chosen: list[tuple[str, Literal["best", "median", "worst", "sample"]]] = (
        [*select_example_frames(errors)] if errors else []
    )
    if not chosen:
        chosen = [(key, "sample") for key in batch.key[:: max(1, len(batch) // 12)][:12]]
    true = {} if truth is None else _true_joints(prediction, truth)
    pictures = batch.rgb if cube_m is None else _closeness(batch, cube_m)
    frames = []
    for key, kind in chosen:
        i = position[key]
        image = (pictures[i].clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
        T = None if batch.T_crop_file is None else batch.T_crop_file[i].double().numpy()
        uv_truth = _into_crop(true[key], T) if key in true else None
        frames.append(GalleryFrame(key, kind, image, _into_crop(_row(prediction, key), T), uv_truth, errors.get(key)))
    return tuple(frames)


def _closeness(batch: Observation, cube_m: float) -> Tensor:
    assert batch.depth_m is not None
    assert batch.centre_m is not None
    return depth_image(batch.depth_m, batch.centre_m, cube_m)


def _true_joints(prediction: KeypointSet, truth: KeypointSet) -> dict[str, np.ndarray]:
    """True joints by key, where they are known, in the order of the predicted ones; NaN where one is missing."""
    assert prediction.joint_names is not None
    matched = match_keypoints(truth, prediction)  # in the order of the second
    known = matched.prediction
    assert known.uv_px is not None
    uv_px = np.full((len(known), prediction.n_joints, 2), np.nan)
    places = [prediction.joint_names.index(name) for name in matched.joint_names]
    uv_px[:, places] = np.where(known.present("uv_px")[..., None], known.uv_px, np.nan)
    return dict(zip(map(str, known.key), uv_px, strict=True))


def _row(keypoints: KeypointSet, key: str) -> np.ndarray:
    row = int(np.flatnonzero(keypoints.key == key)[0])
    assert keypoints.uv_px is not None
    missing = ~keypoints.present("uv_px")[row]
    return np.where(missing[:, None], np.nan, keypoints.uv_px[row])


def _into_crop(uv_px: np.ndarray, T_crop_file: np.ndarray | None) -> np.ndarray:
    return uv_px if T_crop_file is None else uv_px @ T_crop_file[:2, :2].T + T_crop_file[:2, 2]


def checkpoint_choice(report: StageReport) -> CheckpointChoice | None:
    """How a stage's checkpoint was chosen, and beside it what the target's labels would have chosen."""
    if not report.candidates or report.chosen_step is None:
        return None
    candidates = tuple(Candidate(int(c["step"]), c["score"]) for c in report.candidates)
    oracle = at_choice = None
    if all("oracle" in c for c in report.candidates):
        best = max(report.candidates, key=lambda c: c["oracle"])
        oracle = Candidate(int(best["step"]), best["oracle"])
        at_choice = next(c["oracle"] for c in report.candidates if c["step"] == report.chosen_step)
    return CheckpointChoice(CRITERION, report.chosen_step, candidates, True, oracle, at_choice)


def learning_curves(folders: Iterable[Path]) -> Mapping[str, Mapping[str, tuple[tuple[int, float], ...]]]:
    """The tables of metrics of finished stages."""
    curves = {}
    for folder in folders:
        with (folder / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name != "step"]
        curves[folder.name] = {
            name: tuple((int(row["step"]), float(row[name])) for row in rows if row[name]) for name in names
        }
    return curves
