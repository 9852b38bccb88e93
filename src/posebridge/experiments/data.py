"""What every run trains on and is measured by. SynthShift, a user's files and public datasets build it differently."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.bodies.parametric_hand import ParametricHand
from posebridge.contracts.batch import BatchT, LabelledBatch, UnlabelledBatch
from posebridge.contracts.record import PublishedRow
from posebridge.data.datasets.benchmark_frames import SOURCE_STATISTICS
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.mask_store import MaskStore
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.deployment.predictor import Predictor
from posebridge.experiments.evaluation_sets import EvaluationSet
from posebridge.methods.base import MethodConfig
from posebridge.presets.preset import Preset
from posebridge.training.frames import Frames

MEASURED_FRAMES = 512  # labelled target frames on which trusted joints are measured


def statistics_joints_m(renders: InMemoryDataset[LabelledBatch]) -> Float[Tensor, "N J 3"]:
    """Joints in metres of the first renders, from which bone lengths are taken; renders are drawn independently."""
    joints_m = renders.without_images()[:SOURCE_STATISTICS].joints_m
    if joints_m is None:
        raise ValueError("these samples have no joints in metres, so they can't be a source")
    return joints_m


def evenly(dataset: InMemoryDataset[BatchT], count: int) -> BatchT:
    """``count`` evenly chosen samples of a dataset, the first and the last among them; all where there are no more."""
    return dataset.take(torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().long())


def spread(dataset: InMemoryDataset[BatchT], count: int) -> BatchT:
    """``count`` samples at equal distances from the first on; all where there are no more."""
    return dataset.take(torch.arange(0, len(dataset), max(1, len(dataset) // count))[:count])


@dataclass(frozen=True)
class SelectionData:
    """The frames on which checkpoints are compared; ``labels`` are the same frames with labels, for the record."""

    frames: UnlabelledBatch
    labels: LabelledBatch | None = None


@dataclass(frozen=True)
class ExperimentData:
    """A labelled source, an unlabelled target, and frames to predict. Labels of the target are for measuring only."""

    source: Frames[LabelledBatch]
    target: Frames[UnlabelledBatch]
    source_joints_m: Float[Tensor, "N J 3"]  # labelled poses, for statistics of bone lengths
    evaluation: EvaluationSet
    selection: SelectionData | None = None  # None: the last checkpoint is kept
    labelled_target: Frames[LabelledBatch] | None = None  # for the upper bound
    frame_labels: LabelledBatch | None = None  # labelled target frames, in which pseudo-labels are measured
    target_masks: MaskStore | None = None  # foreground masks of all target frames, where they are given
    target_labels: LabelledBatch | None = None  # of all target frames, without images
    hand: ParametricHand | None = None  # whose meshes the source has
    published: tuple[PublishedRow, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)  # input files that were left out, with reasons
    remarks: tuple[str, ...] = ()

    def fitted(self, preset: Preset, method: str) -> Preset:
        """The preset for this target; unchanged unless a builder overrides this."""
        return preset

    def refined(self, predictor: Predictor) -> Self:
        """The data with target crops improved by the source model; unchanged unless a builder overrides this."""
        return self

    def pair_labels(self, config: MethodConfig) -> LabelledBatch | None:
        """Labelled target frames that are drawn over the method's pairs, found by key."""
        return self.target_labels

    def skipped(self) -> Mapping[str, str]:
        """Input files that could not be used, with reasons."""
        return self.unusable

    def used(self) -> int:
        """Number of input files that were used."""
        return len(self.evaluation.frames)

    def notes(self, predictions: FramePredictions) -> tuple[str, ...]:
        """Sentences about the data for the record; ``predictions`` are those of the final model."""
        return self.remarks
