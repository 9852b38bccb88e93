"""The steps that every recipe shares: train a method's stages, choose a checkpoint, score, look."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record import Candidate, CheckpointChoice, GalleryFrame, PseudoLabels
from posebridge.deployment.predictor import Predictor, file_pixels, predict_all
from posebridge.evaluation.evaluate import frame_errors_px, pick_frames
from posebridge.evaluation.matching import match
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.pseudo_labels import Teaching, look
from posebridge.training.run import Run, SelectionPlan, StageReport
from posebridge.training.selection import CRITERION, BoneStatistics, agreement
from posebridge.training.stage import PoseStage, Stage

_SELECTION_FRAMES = 256  # unlabelled target frames by which checkpoints are compared
_PART = 64
_WITHIN = 0.05  # of the image side


@dataclass(frozen=True)
class Trained:
    """What the stages of a method left."""

    network: PoseResNet
    reports: tuple[StageReport, ...]
    folders: tuple[Path, ...]


def train(
    run: Run, first: int, stages: Iterable[tuple[Stage, SelectionPlan | None]], network: PoseResNet | None = None
) -> Trained:
    """Train stages in order, numbered from ``first``; without any, the network that was given is what they left."""
    reports, folders = [], []
    for number, (stage, selection) in enumerate(stages, first):
        reports.append(run.train(number, stage, selection))
        folders.append(run.stage_folder(number, stage.name))
        if isinstance(stage, PoseStage):
            network = stage.result()
    if network is None:
        raise ValueError("no stage trained a pose network, and none was given")
    return Trained(network.eval(), tuple(reports), tuple(folders))


def label_free_selection(
    maps: PoseMaps,
    skeleton: Skeleton,
    bones: BoneStatistics,
    target: UnlabelledBatch,
    truth: LabelledBatch | None,
    evaluations: int = 8,
) -> SelectionPlan:
    """Choose by agreement and plausibility on a fixed part of the target.

    ``truth`` holds the same frames with labels, where there are any: it adds the precision of pseudo-labels and the
    oracle's number to the record, and has no way into the choice.
    """
    step = max(1, len(target) // _SELECTION_FRAMES)
    shown = torch.arange(0, len(target), step)[:_SELECTION_FRAMES]
    frames = target.take(shown)
    measured = None if truth is None else truth.take(shown)

    def score(network: PoseResNet) -> float:
        return agreement(network, maps, frames.to(_device(network)), skeleton, bones)

    def measure(stage: PoseStage) -> dict[str, float]:
        network, numbers = stage.result(), {}
        if measured is not None:
            numbers["oracle"] = _share_right(_positions(network, maps, measured), measured)
        if isinstance(stage, Teaching):
            pseudo = stage.pseudo_labels(frames.to(_device(network)))
            kept = pseudo.kept.cpu()
            numbers["coverage"] = kept.float().mean().item()
            if measured is not None:
                numbers["precision"] = _share_right(pseudo.uv_px.cpu(), measured, kept)
        return numbers

    return SelectionPlan(score, measure, evaluations)


def _positions(network: PoseResNet, maps: PoseMaps, batch: Observation) -> Tensor:
    images = batch.rgb.to(_device(network))
    return torch.cat([look(network, maps, part).uv_px for part in images.split(_PART)]).cpu()


def _share_right(uv_px: Tensor, truth: LabelledBatch, among: Tensor | None = None) -> float:
    assert truth.uv_px is not None
    assert truth.valid is not None
    right = (uv_px - truth.uv_px).norm(dim=-1) < _WITHIN * truth.rgb.shape[-1]
    counted = truth.valid if among is None else truth.valid & among
    return right[counted].float().mean().item()


def _device(network: torch.nn.Module) -> torch.device:
    return next(network.parameters()).device


def parts(batch: Observation, size: int = _PART) -> Iterator[Observation]:
    """A batch cut into smaller ones."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size]


def predict(predictor: Predictor, batch: Observation) -> KeypointSet:
    """Predictions for a batch in memory, in pixels of its files (of itself, if it was rendered)."""
    return predict_all(predictor, parts(batch))


def truth_of(batch: LabelledBatch, joint_names: tuple[str, ...]) -> KeypointSet:
    """The labels of a batch, in pixels of its files."""
    assert batch.uv_px is not None
    assert batch.valid is not None
    return KeypointSet(
        key=np.array(batch.key),
        joint_names=joint_names,
        uv_px=file_pixels(batch.uv_px, batch.T_crop_file).numpy(),
        xyz_mm=None if batch.joints_m is None else 1000 * batch.joints_m.numpy(),
        valid=batch.valid.numpy(),
    )


def gallery(batch: Observation, prediction: KeypointSet, truth: KeypointSet | None) -> tuple[GalleryFrame, ...]:
    """Frames to look at: best, median and worst where there is truth, else evenly chosen ones. In crop pixels."""
    position = {key: i for i, key in enumerate(batch.key)}
    errors = {} if truth is None else frame_errors_px(prediction, truth)
    chosen: list[tuple[str, Literal["best", "median", "worst", "sample"]]] = [*pick_frames(errors)] if errors else []
    if not chosen:
        chosen = [(key, "sample") for key in batch.key[:: max(1, len(batch) // 12)][:12]]
    true = {} if truth is None else _true_joints(prediction, truth)
    frames = []
    for key, kind in chosen:
        i = position[key]
        image = (batch.rgb[i].clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
        T = None if batch.T_crop_file is None else batch.T_crop_file[i].double().numpy()
        uv_truth = _into_crop(true[key], T) if key in true else None
        frames.append(GalleryFrame(key, kind, image, _into_crop(_row(prediction, key), T), uv_truth, errors.get(key)))
    return tuple(frames)


def _true_joints(prediction: KeypointSet, truth: KeypointSet) -> dict[str, np.ndarray]:
    """True joints by key, where they are known, in the order of the predicted ones; NaN where one is missing."""
    assert prediction.joint_names is not None
    matched = match(truth, prediction)  # in the order of the second
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


def pseudo_label_history(report: StageReport) -> tuple[PseudoLabels, ...]:
    """Coverage and precision over the candidates of a stage."""
    return tuple(
        PseudoLabels(int(c["step"]), c["coverage"], c.get("precision")) for c in report.candidates if "coverage" in c
    )


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


@contextmanager
def rendering_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A line that says how far rendering is."""
    with tqdm(total=total, desc="0 rendering", unit="image", mininterval=2.0, dynamic_ncols=True) as bar:

        def told(count: int) -> None:
            bar.update(count)

        yield told
