"""Depth datasets as the data of a run: cubes around hands, in memory, as the network takes them."""

from dataclasses import dataclass, replace

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.record import PublishedRow
from posebridge.contracts.source_labels import JOINTS
from posebridge.data.datasets.dataset import Dataset
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.skipped_list import SkippedList
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.evaluation.published import published_rows
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.data import ExperimentData, SelectionData, evenly, statistics_joints_m
from posebridge.experiments.depth_cubes import DepthCubes, LabelledCubes
from posebridge.experiments.evaluation_sets import InMemoryEvaluation, truth_of
from posebridge.experiments.renders import render_source
from posebridge.experiments.tracks import TRACKS
from posebridge.experiments.train_config import SPLITS_OF, source_title
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.registry import MethodEntry
from posebridge.presets.preset import Preset
from posebridge.training.frames import InMemoryFrames

_SPLIT_TEXTS = {"train": "the training split", "test": "the test split", "both": "both splits"}


@dataclass(frozen=True)
class DepthDatasetData(ExperimentData):
    """A depth dataset."""

    images: int = 0  # that were read

    def fitted(self, preset: Preset, method: str) -> Preset:
        """The preset for as many views and moments as the target has."""
        assert isinstance(self.target, InMemoryFrames)
        frames = self.target.dataset.without_images()
        return preset.with_config(method, preset.config_of(method).for_target(frames))

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
) -> DepthDatasetData:
    """The data of a run on a depth dataset. The source is read or rendered last.

    Frames that are broken or show no hand are noted in ``skipped``. Raises ``InputError`` for a wrong folder, split or
    option, for labels that a method or a source lacks, and where no frame can be read.
    """
    cubes = DepthCubes(config.target, preset.model, config.hand, skipped, workers)
    read_source = None if config.source is None else DepthCubes(config.source, preset.model, None, skipped, workers)
    frames = None if read_source is None else read_source.open_labelled(frozenset(method.source_labels))
    supervised = method.role == "supervised_target"
    labelled = cubes.labelled(cubes.open_labelled(JOINTS), preset.data.target) if supervised else None
    target, test = cubes.unlabelled(SPLITS_OF[config.target_split], preset.data.target), cubes.test(preset.data.test)
    if read_source is None or frames is None:
        source = _rendered(config, method, preset)
    else:
        source = read_source.labelled(frames, preset.data.source)
    scored = cubes.dataset.scored_joints or cubes.dataset.joints
    return DepthDatasetData(
        source=InMemoryFrames(source.dataset, config.seed),
        target=InMemoryFrames(target, config.seed + 1),
        source_joints_m=source.joints_m,
        evaluation=_evaluation(test, cubes),
        selection=None if preset.model.takes_depth_m else SelectionData(evenly(target, SELECTION_FRAMES)),
        labelled_target=None if labelled is None else InMemoryFrames(labelled.dataset, config.seed),
        hand=preset.model.hand_model(config.mano),
        published=_published(config, cubes.dataset),
        unusable=cubes.left_out | ({} if read_source is None else read_source.left_out) | skipped.read(),
        remarks=(
            f"Labelled: {len(source.dataset)} images of {source_title(config)}. "
            f"Unlabelled: {len(target)} images of {_SPLIT_TEXTS[config.target_split]} of {cubes.dataset.title}. "
            f"Scored: {len(test)}, by {len(scored)} joints, not aligned.",
            *_remarks(config),
        ),
        images=len(target) + len(test) + (0 if read_source is None else len(source.dataset)),
    )


def _evaluation(test: LabelledBatch, cubes: DepthCubes) -> InMemoryEvaluation:
    return InMemoryEvaluation(
        observed=test.unlabelled(),
        truth=truth_of(test, cubes.dataset.joints),
        protocol=TRACKS["hand-depth"].protocol,
        cube_m=cubes.cube_m,
        joints=cubes.dataset.scored_joints,
    )


def _remarks(config: TrainConfig) -> tuple[str, ...]:
    if dataset_named(config.target.name).own_centres:
        return ("hands are cut around the centres of the set, which were made from its labels",)
    around_labels = config.target.options.centres == "labels"
    return ("hands are cut around their labelled joints, in training and in the test",) if around_labels else ()


def _rendered(config: TrainConfig, method: MethodEntry, preset: Preset) -> LabelledCubes:
    frames = render_source(preset, method, TRACKS["hand-depth"], config.domain, config.seed, mano=config.mano)
    return LabelledCubes(frames.dataset, statistics_joints_m(frames.dataset))


def _published(config: TrainConfig, target: Dataset) -> tuple[PublishedRow, ...]:
    """The published numbers of runs from renders."""
    return published_rows(target.title, "mean joint error", "rendered MANO") if config.source is None else ()
