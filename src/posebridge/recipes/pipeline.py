"""The steps that every recipe shares: train a method's stages, choose a checkpoint, predict."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.predictor import Predictor, file_pixels, predict_all
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.rendering.photometry import WEAK, AppearanceConfig
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.pseudo_labels import ShowsPseudoLabels, look
from posebridge.training.run import Run, SelectionPlan, StageReport
from posebridge.training.selection import BoneStatistics, agreement
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
    appearance: AppearanceConfig = WEAK,
) -> SelectionPlan:
    """Choose by agreement and plausibility on a fixed part of the target, shown under changing ``appearance``.

    ``truth`` holds the same frames with labels, where there are any: it adds the precision of pseudo-labels and the
    oracle's number to the record, and has no way into the choice.
    """
    step = max(1, len(target) // _SELECTION_FRAMES)
    shown = torch.arange(0, len(target), step)[:_SELECTION_FRAMES]
    frames = target.take(shown)
    measured = None if truth is None else truth.take(shown)

    def score(network: PoseResNet) -> float:
        return agreement(network, maps, frames.to(_device(network)), skeleton, bones, appearance)

    def measure(stage: PoseStage) -> dict[str, float]:
        network, numbers = stage.result(), {}
        if measured is not None:
            numbers["oracle"] = _share_right(_positions(network, maps, measured), measured)
        if isinstance(stage, ShowsPseudoLabels):
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


@contextmanager
def rendering_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A line that says how far rendering is."""
    with tqdm(total=total, desc="0 rendering", unit="image", mininterval=2.0, dynamic_ncols=True) as bar:

        def told(count: int) -> None:
            bar.update(count)

        yield told
