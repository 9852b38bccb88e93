"""Train the stages of a method in order, and choose checkpoints without labels of the target."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.run_layout import StageLayout
from posebridge.networks.pose_network import PoseNetwork
from posebridge.presets.preset import SelectionConfig
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.options import Hardware
from posebridge.training.pseudo_label_metrics import PseudoLabelMetrics
from posebridge.training.run import Run, SelectionPlan
from posebridge.training.selection import BoneStatistics, agreement, frame_scores
from posebridge.training.stage import Stage
from posebridge.training.stage_report import StageReport

SELECTION_FRAMES = 256  # unlabelled target frames on which checkpoints are compared
_CLEAR = 2.0  # standard errors by which the score of an adapted model has to rise


@dataclass(frozen=True)
class Trained:
    """A trained model and its stages."""

    network: nn.Module
    stages: tuple[Stage, ...] = ()
    reports: tuple[StageReport, ...] = ()
    files: tuple[StageLayout, ...] = ()


class StageTrainer:
    """Trains stages into the folder of a run, numbered from 1 over all methods of the run.

    ``steps`` are those of all stages, as far as they are known, for the remaining time.
    """

    def __init__(self, run: Run, steps: int = 0):
        self.run = run
        self.number = 0
        self.remaining_steps = steps

    def train(
        self,
        stages: Iterable[tuple[Stage, SelectionPlan | None]],
        network: nn.Module | None = None,
        run: Run | None = None,
    ) -> Trained:
        """Train stages in order; without any, ``network`` is the result. ``run`` is another folder for these stages."""
        run, trained, reports, files = run or self.run, [], [], []
        for stage, selection in stages:
            self.number += 1
            self.remaining_steps = max(0, self.remaining_steps - stage.schedule.steps)
            reports.append(run.train(self.number, stage, selection, self.remaining_steps))
            files.append(run.layout.stage(self.number, stage.name))
            trained.append(stage)
            if stage.trains_pose_network:
                network = stage.result()
        if network is None:
            raise ValueError("no stage trained a pose network, and none was given")
        return Trained(network.eval(), tuple(trained), tuple(reports), tuple(files))


def label_free_selection(
    config: SelectionConfig,
    skeleton: Skeleton,
    source_joints_m: Float[Tensor, "N J 3"],
    frames: UnlabelledBatch,
    labels: LabelledBatch | None,
) -> SelectionPlan:
    """Choose checkpoints by agreement between views and by plausible bones, on fixed frames of the target.

    ``labels`` are the same frames with labels, where there are any. They add the precision of pseudo-labels and the
    accuracy of each checkpoint to the record, and take no part in the choice.
    """
    bones = BoneStatistics.of(source_joints_m, skeleton)

    def score(network: PoseNetwork) -> float:
        device = next(network.parameters()).device
        return agreement(network, frames.to(device), skeleton, bones, config.appearance)

    return SelectionPlan(score, PseudoLabelMetrics(frames, labels), config.evaluations)


@dataclass(frozen=True)
class SourceComparison:
    """Label-free scores of the model before adaptation and after it, on the same frames of the target."""

    before: float
    after: float
    error: float  # standard error of the mean difference over frames

    @property
    def helps(self) -> bool:
        """Whether the score has risen by more than twice its standard error."""
        return self.after - self.before > _CLEAR * self.error

    def __str__(self) -> str:
        kept = "the adapted model is kept" if self.helps else "adaptation doesn't help, so the model before it is kept"
        change = self.after - self.before
        return (
            f"label-free score {self.before:.3f} before adaptation and {self.after:.3f} after it "
            f"(change {change:+.3f}, standard error {self.error:.3f}): {kept}"
        )


def compare_with_source(
    config: SelectionConfig,
    skeleton: Skeleton,
    source_joints_m: Float[Tensor, "N J 3"],
    frames: UnlabelledBatch,
    source: PoseNetwork,
    adapted: PoseNetwork,
) -> SourceComparison:
    """Compare both models by the score that checkpoints are chosen by, frame by frame."""
    bones = BoneStatistics.of(source_joints_m, skeleton)

    def scores(network: PoseNetwork) -> Tensor:
        device = next(network.parameters()).device
        return frame_scores(network, frames.to(device), skeleton, bones, config.appearance)

    before, after = scores(source), scores(adapted)
    difference = after - before
    error = float(difference.std() / math.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return SourceComparison(float(before.mean()), float(after.mean()), error)


def prediction_device(hardware: Hardware) -> torch.device:
    """The device of predictions after training, which leaves its networks on the CPU."""
    return torch.device("cuda" if hardware.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
