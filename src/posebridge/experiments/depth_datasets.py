"""Depth datasets as the data of a run: cubes around hands, in memory, as the network takes them."""

from dataclasses import dataclass, replace

from posebridge.contracts.batch import BatchT, LabelledBatch, concatenate
from posebridge.contracts.record import PublishedRow
from posebridge.contracts.source_labels import JOINTS
from posebridge.data.agreeing_views import in_whole_moments
from posebridge.data.datasets.dataset import Dataset
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.deployment.depth_cubes import DepthCubes, LabelledCubes, ScoredCubes
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.deployment.predictor import Predictor
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
from posebridge.skeletons.named import skeleton_named
from posebridge.training.frames import Frames, InMemoryFrames

_REFINED_AT_ONCE = 64
_SPLIT_TEXTS = {"train": "the training split", "test": "the test split", "both": "both splits"}


@dataclass(frozen=True)
class TargetCubes:
    """Readers of the target's crops: unlabelled, of the test split, and labelled."""

    target: DepthCubes
    test: DepthCubes
    labelled: DepthCubes

    def left_out(self) -> dict[str, str]:
        """What the readers leave out, with reasons."""
        return self.labelled.left_out | self.target.left_out | self.test.left_out


@dataclass(frozen=True)
class DepthDatasetData(ExperimentData):
    """A depth dataset. Its hands are cropped again around those that the source model predicts."""

    cubes: TargetCubes | None = None
    images: int = 0  # that were read

    def refined(self, predictor: Predictor) -> "DepthDatasetData":
        """The second crops of all frames. Given centres are kept."""
        assert self.cubes is not None
        assert isinstance(self.evaluation, InMemoryEvaluation)
        if not self.cubes.target.refines:
            return self
        target = _refined(self.target, self.cubes.target, predictor)
        first = self.evaluation.crops.batches(_REFINED_AT_ONCE)
        crops = InMemoryDataset.of_batch(concatenate([*self.cubes.test.refined(predictor, first)]))
        labelled = self.labelled_target
        return replace(
            self,
            target=target,
            selection=None if self.selection is None else SelectionData(evenly(target.dataset, SELECTION_FRAMES)),
            evaluation=replace(self.evaluation, crops=crops),
            labelled_target=None if labelled is None else _refined(labelled, self.cubes.labelled, predictor),
        )

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
        hands = replace(predictions.hands, joints_m=predictions.hands.pixel_joints_m)
        score = self.evaluation.score(replace(predictions, hands=hands))
        assert score is not None
        return (*self.remarks, f"pixel-wise joints, instead of the mesh's: mean error of {score.mean_error_mm:.1f} mm")


def depth_dataset_data(
    config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList, workers: int
) -> DepthDatasetData:
    """The data of a run on a depth dataset. The source is read or rendered last.

    Frames that are broken or show no hand are noted in ``skipped``. Raises ``InputError`` for a wrong folder, split or
    option, for labels that a method or a source lacks, and where no frame can be read.
    """
    cubes = TargetCubes(
        *(DepthCubes(config.target, preset.model, config.hand, skipped, workers) for _ in range(3)),
    )
    read_source = None if config.source is None else DepthCubes(config.source, preset.model, None, skipped, workers)
    frames = None if read_source is None else read_source.open_labelled(frozenset(method.source_labels))
    labelled = _labelled_target(cubes.labelled, method, preset, config.seed)
    target = cubes.target.unlabelled(SPLITS_OF[config.target_split], preset.data.target)
    test = cubes.test.test(preset.data.test)
    if read_source is None or frames is None:
        source = _rendered(config, method, preset)
    else:
        source = read_source.labelled(frames, preset.data.source)
    return DepthDatasetData(
        source=InMemoryFrames(source.dataset, config.seed),
        target=InMemoryFrames(target, config.seed + 1),
        source_joints_m=source.joints_m,
        evaluation=_evaluation(test, cubes.test),
        selection=None if preset.model.takes_depth_m else SelectionData(evenly(target, SELECTION_FRAMES)),
        labelled_target=labelled,
        hand=preset.model.hand_model(config.mano),
        published=_published(config, cubes.target.dataset),
        unusable=cubes.left_out() | ({} if read_source is None else read_source.left_out) | skipped.read(),
        remarks=_remarks(config, len(source.dataset), len(target), test),
        cubes=cubes,
        images=len(target) + len(test.batch) + (0 if read_source is None else len(source.dataset)),
    )


def _labelled_target(
    cubes: DepthCubes, method: MethodEntry, preset: Preset, seed: int
) -> InMemoryFrames[LabelledBatch] | None:
    """The target with labels; None for methods that don't learn from them."""
    if method.role != "supervised_target":
        return None
    return InMemoryFrames(cubes.labelled(cubes.open_labelled(JOINTS), preset.data.target).dataset, seed)


def _refined(frames: Frames[BatchT], cubes: DepthCubes, predictor: Predictor) -> InMemoryFrames[BatchT]:
    assert isinstance(frames, InMemoryFrames)
    groups = in_whole_moments(frames.dataset.samples(), _REFINED_AT_ONCE, lambda crop: crop)
    return replace(frames, dataset=InMemoryDataset(cubes.refined(predictor, map(concatenate, groups))))


def _evaluation(test: ScoredCubes, cubes: DepthCubes) -> InMemoryEvaluation:
    assert cubes.dataset.skeleton is not None
    return InMemoryEvaluation(
        crops=InMemoryDataset.of_batch(test.batch.unlabelled()),
        truth=truth_of(test.batch, cubes.dataset.joints),
        protocol=TRACKS["hand-depth"].protocol,
        cube_m=cubes.cube_m,
        skeleton=skeleton_named(cubes.dataset.skeleton),
        scored=cubes.dataset.scored_joints,
        failed=test.failed,
    )


def _remarks(config: TrainConfig, labelled: int, unlabelled: int, test: ScoredCubes) -> tuple[str, ...]:
    dataset = dataset_named(config.target.name)
    remarks = [
        f"Labelled: {labelled} images of {source_title(config)}. "
        f"Unlabelled: {unlabelled} images of {_SPLIT_TEXTS[config.target_split]} of {dataset.title}. "
        f"Scored: {len(test.batch)}, by {len(dataset.scored_joints)} joints, not aligned."
    ]
    if dataset.own_centres:
        remarks.append("hands are cut around the centres of the set, which were made from its labels")
    elif config.target.options.centres == "labels":
        remarks.append("hands are cut around their labelled joints, in training and in the test")
    if test.failed:
        remarks.append(
            f"no hand is found in {len(test.failed)} test frames: they fail at every threshold, and the mean error "
            "contains what is predicted in the middle of the searched range"
        )
    return tuple(remarks)


def _rendered(config: TrainConfig, method: MethodEntry, preset: Preset) -> LabelledCubes:
    frames = render_source(preset, method, TRACKS["hand-depth"], config.domain, config.seed, mano=config.mano)
    return LabelledCubes(frames.dataset, statistics_joints_m(frames.dataset))


def _published(config: TrainConfig, target: Dataset) -> tuple[PublishedRow, ...]:
    """The published numbers of runs from renders."""
    return published_rows(target.title, "mean joint error", "rendered MANO") if config.source is None else ()
