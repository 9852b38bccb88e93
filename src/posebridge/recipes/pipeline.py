"""The steps that every recipe shares: train a method's stages, choose, score, and write the record and the report."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.methods.mean_teacher import Adaptation
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.run import Run, SelectionPlan, StageReport
from posebridge.training.selection import BoneStatistics, agreement
from posebridge.training.stage import PoseStage, Stage

_SELECTION_FRAMES = 192  # unlabelled target frames by which checkpoints are compared
_GALLERY = 4  # frames of each kind
_PART = 64


@dataclass(frozen=True)
class Trained:
    """What the stages of a method left."""

    network: PoseResNet
    reports: tuple[StageReport, ...]


def train(
    run: Run, first: int, stages: Iterable[tuple[Stage, SelectionPlan | None]], network: PoseResNet | None
) -> Trained:
    """Train stages in order, numbered from ``first``; without any, the network that was given."""
    reports = []
    for number, (stage, selection) in enumerate(stages, first):
        reports.append(run.train(number, stage, selection))
        if isinstance(stage, PoseStage):
            network = stage.result()
    if network is None:
        raise ValueError("no stage trained a pose network, and none was given")
    return Trained(network.eval(), tuple(reports))


def label_free_selection(
    maps: PoseMaps,
    skeleton: Skeleton,
    source_joints_m: torch.Tensor,
    target: UnlabelledBatch,
    truth: LabelledBatch | None,
    evaluations: int,
) -> SelectionPlan:
    """Choose by agreement and plausibility on a fixed part of the target.

    ``truth``, where there is one, adds the oracle's number and the precision of pseudo-labels to the record.
    """
    step = max(1, len(target) // _SELECTION_FRAMES)
    frames = target.take(torch.arange(0, len(target), step)[:_SELECTION_FRAMES])
    bones = BoneStatistics.of(source_joints_m, skeleton)

    def score(network: PoseResNet) -> float:
        return agreement(network, maps, frames.to(_device(network)), skeleton, bones)

    def measure(stage: PoseStage) -> dict[str, float]:
        numbers = {}
        if isinstance(stage, Adaptation):
            pseudo = stage.pseudo_labels(frames.to(_device(stage.result())))
            numbers["coverage"] = pseudo.kept.float().mean().item()
            if truth is not None:
                at = truth.take(torch.arange(0, len(target), step)[:_SELECTION_FRAMES])
                numbers["precision"] = _share_right(pseudo.uv_px.cpu()[pseudo.kept.cpu()], at, pseudo.kept.cpu())
        return numbers

    return SelectionPlan(score, measure, evaluations)


def _share_right(uv_px: torch.Tensor, truth: LabelledBatch, kept: torch.Tensor) -> float:
    assert truth.uv_px is not None
    assert truth.image is not None
    return ((uv_px - truth.uv_px[kept]).norm(dim=-1) < 0.05 * truth.image.shape[-1]).float().mean().item()


def _device(network: torch.nn.Module) -> torch.device:
    return next(network.parameters()).device
