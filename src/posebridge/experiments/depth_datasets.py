"""Public depth datasets as the data of a run: cubes around hands, in memory; the source is rendered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from posebridge.bodies.parametric_hand import load_parametric_hand
from posebridge.contracts.batch import BatchT, LabelledBatch, UnlabelledBatch, concatenate
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import Crops, ordered_batches
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.filled_cubes import FilledCubes
from posebridge.data.frames import LabelledFrames
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR
from posebridge.evaluation.published import published_rows
from posebridge.experiments.adapt_depth import render_depth_source
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.data import ExperimentData, statistics_joints_m
from posebridge.experiments.dataset_frames import shown_hand, with_defaults
from posebridge.experiments.evaluation_sets import InMemoryEvaluation, truth_of
from posebridge.experiments.preset import Preset
from posebridge.methods.registry import MethodEntry
from posebridge.networks.depth_hand import DepthHandConfig
from posebridge.training.frames import InMemoryFrames

_READ_AT_ONCE = 64
_SPLIT_TEXTS = {"train": "the training split", "test": "the test split", "both": "both splits"}
_SPLITS: Mapping[str, tuple[Split, ...]] = {"train": ("train",), "test": ("test",), "both": ("train", "test")}


@dataclass(frozen=True)
class DepthDatasetTarget:
    """The frames to adapt to, without labels, and the labelled frames that are scored."""

    dataset: InMemoryDataset[UnlabelledBatch]
    test: LabelledBatch


def read_depth_target(config: TrainConfig, preset: Preset, skipped: SkippedList, workers: int) -> DepthDatasetTarget:
    """Cut cubes around the hands of a dataset. Frames that are broken or show no hand are noted in ``skipped``.

    Raises ``InputError`` for a wrong folder, split or option, and where no frame can be read.
    """
    assert preset.cube_m is not None
    cube_m, dataset = preset.cube_m, dataset_named(config.target.name)
    crop = CubeCropConfig(preset.size_px, cube_m, shown_hand(config.target, config.hand))

    def filled(crops: Crops[BatchT]) -> Iterator[BatchT]:
        cubes = FilledCubes(crops, cube_m)
        return (batch for _, batch in ordered_batches(cubes, _READ_AT_ONCE, skipped, workers=workers))

    options = with_defaults(config.target, preset)
    views = len(options.views or (1,))

    def opened(split: Split, options: DatasetOptions) -> LabelledFrames:
        return dataset.open(config.target.path, split, options)

    splits = [opened(split, options) for split in _SPLITS[config.target_split]]
    parts = [_evenly(frames, views, preset.data.target) for frames in splits]
    cubes = (batch for frames in parts for batch in filled(UnlabelledCrops(frames, crop)))
    disagreeing: dict[str, str] = {}
    single = (batch[i : i + 1] for batch in cubes for i in range(len(batch)))
    target = InMemoryDataset(agreeing_views(single, cube_m, disagreeing))
    for key, reason in disagreeing.items():
        skipped.note(key, reason)
    scored = _evenly(opened("test", replace(options, views=None)), 1, preset.data.test)
    return DepthDatasetTarget(target, concatenate([*filled(LabelledCrops(scored, crop))]))


def _evenly(frames: LabelledFrames, views: int, count: int | None) -> Subset:
    """The frames, thinned evenly to ``count`` moments of so many views; None: all."""
    moments = len(frames) // views
    kept = np.linspace(0, moments - 1, moments if count is None else min(count, moments)).round().astype(int)
    return Subset(frames, (views * kept[:, None] + np.arange(views)).ravel())


@dataclass(frozen=True)
class DepthDatasetData(ExperimentData):
    """A public depth dataset."""

    def notes(self, predictions: FramePredictions) -> tuple[str, ...]:
        """How many frames are used, and the error of the pixel-wise joints, beside that of the mesh's."""
        if predictions.hands is None:
            return self.remarks
        xyz_mm = 1000 * predictions.hands.pixel_joints_m.numpy()
        score = self.evaluation.score(replace(predictions.keypoints, xyz_mm=xyz_mm))
        assert score is not None
        return (*self.remarks, f"pixel-wise joints, instead of the mesh's: mean error of {score.mean_error_mm:.1f} mm")


def depth_dataset_data(
    config: TrainConfig, method: MethodEntry, preset: Preset, target: DepthDatasetTarget, skipped: Mapping[str, str]
) -> DepthDatasetData:
    """The data of a run on a depth dataset. The source is rendered here."""
    dataset = dataset_named(config.target.name)
    source = render_depth_source(preset, method, config.domain, config.seed, config.mano)
    assert isinstance(preset.network, DepthHandConfig)
    scored = dataset.scored_joints
    around_labels = config.target.options.centres == "labels"
    return DepthDatasetData(
        source=source,
        target=InMemoryFrames(target.dataset, config.seed + 1),
        source_joints_m=statistics_joints_m(source.dataset),
        evaluation=InMemoryEvaluation(
            observed=target.test.unlabelled(),
            truth=truth_of(target.test, dataset.joints),
            protocol=DEPTH_JOINT_ERROR,
            cube_m=preset.cube_m,
            joints=scored,
        ),
        hand=load_parametric_hand(config.mano, preset.network.shape_size),
        published=published_rows(dataset.title, "mean joint error", "rendered MANO"),
        unusable=skipped,
        remarks=(
            f"Unlabelled: {len(target.dataset)} images of {_SPLIT_TEXTS[config.target_split]}. "
            f"Scored: {len(target.test)}, by {len(scored or dataset.joints)} joints, not aligned.",
            *(("hands are cut around their labelled joints, in training and in the test",) if around_labels else ()),
        ),
    )
