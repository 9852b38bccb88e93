"""Depth datasets as the data of a run: cubes around hands, in memory, as the network takes them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from posebridge.contracts.batch import BatchT, LabelledBatch, concatenate
from posebridge.contracts.source_labels import SourceLabels
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import Crops, ordered_batches
from posebridge.data.datasets.benchmark_frames import shown_hand, with_defaults
from posebridge.data.datasets.dataset import Dataset
from posebridge.data.datasets.dataset_ref import DatasetRef
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.filled_cubes import FilledCubes
from posebridge.data.frames import LabelledFrames, Side
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.deployment.model_spec import ModelSpec
from posebridge.errors import InputError
from posebridge.evaluation.published import published_rows
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.data import ExperimentData, SelectionData, evenly, statistics_joints_m
from posebridge.experiments.evaluation_sets import InMemoryEvaluation, truth_of
from posebridge.experiments.renders import render_source
from posebridge.experiments.tracks import TRACKS
from posebridge.experiments.train_config import SPLITS_OF, source_title
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.registry import MethodEntry
from posebridge.presets.preset import Preset
from posebridge.representations.depth_image import depth_image
from posebridge.training.frames import InMemoryFrames

_READ_AT_ONCE = 64
_SPLIT_TEXTS = {"train": "the training split", "test": "the test split", "both": "both splits"}
_JOINTS: SourceLabels = frozenset({"joints"})


@dataclass(frozen=True)
class DepthDatasetData(ExperimentData):
    """A depth dataset."""

    images: int = 0  # that were read

    def used(self) -> int:
        """Number of images that were read."""
        return self.images

    def notes(self, predictions: FramePredictions) -> tuple[str, ...]:
        """How many frames are used, and the error of the pixel-wise joints, beside that of the mesh's."""
        if predictions.hands is None:
            return self.remarks
        xyz_mm = 1000 * predictions.hands.pixel_joints_m.numpy()
        score = self.evaluation.score(replace(predictions.keypoints, xyz_mm=xyz_mm))
        assert score is not None
        return (*self.remarks, f"pixel-wise joints, instead of the mesh's: mean error of {score.mean_error_mm:.1f} mm")


def depth_dataset_data(
    config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList, workers: int
) -> tuple[Preset, DepthDatasetData]:
    """The preset for the target, and the data of a run on a depth dataset. The source is read or rendered last.

    Frames that are broken or show no hand are noted in ``skipped``. Raises ``InputError`` for a wrong folder, split or
    option, for labels that a method or a source lacks, and where no frame can be read.
    """
    cubes = DepthCubes(config.target, preset.model, config.hand, skipped, workers)
    target, test = cubes.unlabelled(SPLITS_OF[config.target_split], preset.data.target), cubes.test(preset.data.test)
    labelled = cubes.labelled(preset.data.target, _JOINTS) if method.role == "supervised_target" else None
    preset = preset.with_config(method.name, preset.config_of(method.name).for_target(target.without_images()))
    if config.source is None:
        source = render_source(preset, method, TRACKS["hand-depth"], config.domain, config.seed, mano=config.mano)
    else:
        read = DepthCubes(config.source, preset.model, None, skipped, workers)
        source = InMemoryFrames(read.labelled(preset.data.source, frozenset(method.source_labels)), config.seed)
    scored, unusable = cubes.dataset.scored_joints, skipped.read()
    around_labels = config.target.options.centres == "labels"
    data = DepthDatasetData(
        source=source,
        target=InMemoryFrames(target, config.seed + 1),
        source_joints_m=statistics_joints_m(source.dataset),
        evaluation=InMemoryEvaluation(
            observed=test.unlabelled(),
            truth=truth_of(test, cubes.dataset.joints),
            protocol=TRACKS["hand-depth"].protocol,
            cube_m=preset.model.cube_m,
            joints=scored,
        ),
        selection=None if preset.model.takes_depth_m else SelectionData(evenly(target, SELECTION_FRAMES)),
        labelled_target=None if labelled is None else InMemoryFrames(labelled, config.seed),
        hand=preset.model.hand_model(config.mano),
        published=published_rows(cubes.dataset.title, "mean joint error", "rendered MANO"),
        unusable=unusable,
        remarks=(
            f"Labelled: {len(source.dataset)} images of {source_title(config)}. "
            f"Unlabelled: {len(target)} images of {_SPLIT_TEXTS[config.target_split]} of {cubes.dataset.title}. "
            f"Scored: {len(test)}, by {len(scored or cubes.dataset.joints)} joints, not aligned.",
            *(("hands are cut around their labelled joints, in training and in the test",) if around_labels else ()),
        ),
        images=len(target) + len(test) + (0 if config.source is None else len(source.dataset)),
    )
    return preset, data


@dataclass(frozen=True)
class DepthCubes:
    """Reads the hands of one dataset as cubes; frames without a hand are noted."""

    ref: DatasetRef
    model: ModelSpec
    hand: Side | None
    skipped: SkippedList
    workers: int

    @property
    def dataset(self) -> Dataset:
        """Its entry in the table."""
        return dataset_named(self.ref.name)

    @property
    def cube_m(self) -> float:
        """Side of the cubes."""
        assert self.model.cube_m is not None
        return self.model.cube_m

    @property
    def options(self) -> DatasetOptions:
        """The given options, with the benchmark's where none are given."""
        return with_defaults(self.ref)

    def unlabelled(self, splits: tuple[Split, ...], moments: int | None) -> InMemoryDataset:
        """So many moments of each split, all their views; views that disagree with the others are left out."""
        views, crop = len(self.options.views or (1,)), self._crop
        parts = [_evenly(self._open(split, self.options), views, moments) for split in splits]
        cubes = (batch for frames in parts for batch in self._read(UnlabelledCrops(frames, crop)))
        disagreeing: dict[str, str] = {}
        single = (batch[i : i + 1] for batch in cubes for i in range(len(batch)))
        found = InMemoryDataset(agreeing_views(single, self.cube_m, disagreeing))
        for key, reason in disagreeing.items():
            self.skipped.note(key, reason)
        return found

    def test(self, count: int | None) -> LabelledBatch:
        """So many frames of the test split, labelled with the dataset's own joints."""
        frames = self._open("test", replace(self.options, views=None))
        return concatenate([*self._read(LabelledCrops(_evenly(frames, 1, count), self._crop))])

    def labelled(self, count: int | None, labels: SourceLabels) -> InMemoryDataset[LabelledBatch]:
        """So many frames of the training split with the network's joints.

        Raises ``InputError`` for a dataset whose joints are others, and for one without the labels.
        """
        if self.dataset.skeleton != self.model.skeleton:
            raise InputError(
                f"{self.ref.name} labels the joints of {self.dataset.skeleton}, and the network predicts those of "
                f"{self.model.skeleton}: train on another dataset, or on renders"
            )
        options = self.dataset.loading(labels, replace(self.options, views=None))
        frames = self._open("train", options)
        return InMemoryDataset(self._read(LabelledCrops(_evenly(frames, 1, count), self._crop)))

    @property
    def _crop(self) -> CubeCropConfig:
        return CubeCropConfig(self.model.size_px, self.cube_m, shown_hand(self.ref, self.hand))

    def _open(self, split: Split, options: DatasetOptions) -> LabelledFrames:
        return self.dataset.open(self.ref.path, split, options)

    def _read(self, crops: Crops[BatchT]) -> Iterator[BatchT]:
        cubes = FilledCubes(crops, self.cube_m)
        for _, batch in ordered_batches(cubes, _READ_AT_ONCE, self.skipped, workers=self.workers):
            yield self._as_input(batch)

    def _as_input(self, batch: BatchT) -> BatchT:
        if self.model.takes_depth_m:
            return batch
        assert batch.depth_m is not None
        assert batch.centre_m is not None
        return replace(batch, image=depth_image(batch.depth_m, batch.centre_m, self.cube_m), depth_m=None)


def _evenly(frames: LabelledFrames, views: int, count: int | None) -> Subset:
    """The frames, thinned evenly to ``count`` moments of so many views; None: all."""
    moments = len(frames) // views
    kept = np.linspace(0, moments - 1, moments if count is None else min(count, moments)).round().astype(int)
    return Subset(frames, (views * kept[:, None] + np.arange(views)).ravel())
