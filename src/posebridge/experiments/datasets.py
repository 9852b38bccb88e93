"""Public colour datasets as the data of a run: frames stay on disk and are cropped when they are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.record import PublishedRow
from posebridge.data.crops import LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import dataset_pairs
from posebridge.data.datasets.benchmark_frames import (
    drawn,
    load_subset,
    open_dataset,
    shown_hand,
    source_joints,
)
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.image_crops import CropConfig
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Joined
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.deployment.model_spec import skeleton_of
from posebridge.evaluation.protocols import PCK_005, PCK_005_BODY, EvaluationProtocol
from posebridge.evaluation.published import published_rows
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.data import ExperimentData, SelectionData, statistics_joints_m
from posebridge.experiments.evaluation_sets import DatasetEvaluation
from posebridge.experiments.renders import render_source
from posebridge.experiments.tracks import track_of
from posebridge.experiments.train_config import PUBLISHED_JOINTS, SPLITS_OF, source_title, subject_shown
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.base import MethodConfig
from posebridge.methods.registry import MethodEntry
from posebridge.presets.preset import Preset
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.frames import DatasetFrames, Frames

_PUBLISHED_METRICS = ("PCK@0.05", "EPE")
_TEST_FRAMES: Mapping[str, int] = {"human3.6m": 3_200}  # scored in the published tables
_SHOWN_PAIRS = 16


def dataset_protocol(skeleton: Skeleton) -> EvaluationProtocol:
    """The protocol of the published tables: hands are aligned at the base of the middle finger."""
    if not skeleton.mirror_of:
        return replace(PCK_005, root="middle_1", reference_bone=("middle_1", "middle_2"))
    return replace(
        PCK_005_BODY,
        groups=skeleton.groups,
        root=skeleton.joints[skeleton.root],
        reference_bone=skeleton.reference_bone,
    )


def scored_in_image(skeleton: Skeleton) -> tuple[str, ...] | None:
    """The joints that count in the image: of bodies, those of the tables' columns. None: all."""
    return tuple(chain(*skeleton.groups.values())) if skeleton.mirror_of else None


@dataclass(frozen=True)
class DatasetData(ExperimentData):
    """Colour datasets."""

    shown: DatasetFrames[LabelledBatch] | None = None  # the frames that are adapted to, in the same order, with labels
    skipped_list: SkippedList | None = None

    def pair_labels(self, config: MethodConfig) -> LabelledBatch | None:
        """The first pairs, which are those that the report shows, with their labels."""
        if config.target_pairs is None:
            return None
        assert self.shown is not None
        return self.shown.pairs(_SHOWN_PAIRS, config.target_pairs).batch(0)

    def skipped(self) -> Mapping[str, str]:
        """What the readers left out, and what could not be read since."""
        return self.unusable if self.skipped_list is None else {**self.unusable, **self.skipped_list.read()}

    def notes(self, predictions: FramePredictions) -> tuple[str, ...]:
        """How many frames are used."""
        return (*self.remarks, f"Scored on {len(self.evaluation.frames)} frames of the test split.")


def dataset_data(
    config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList, workers: int
) -> DatasetData:
    """The data of a run on colour datasets; the target is read before a source is rendered.

    Raises ``InputError`` for a wrong folder, a label or pair that is missing, and where no frame can be read.
    """
    target = dataset_named(config.target.name)
    skeleton, seed, clips = skeleton_of(preset.model), config.seed, preset.data.source_clips
    crop = CropConfig(preset.model.size_px, hand=shown_hand(config.target, config.hand, bool(skeleton.mirror_of)))
    splits = SPLITS_OF[config.target_split]
    opened = {split: open_dataset(config.target, split, skeleton, clips) for split in dict.fromkeys((*splits, "test"))}
    train = opened[splits[0]] if len(splits) == 1 else Joined(*(opened[split] for split in splits))
    test = opened["test"]
    labelled = LabelledCrops(train, crop)
    find_pairs = cache(lambda pairs: dataset_pairs(train, pairs))
    pairs = preset.config_of(method.name).target_pairs
    if method.target == "pairs" and pairs is not None:
        find_pairs(pairs)
    measured = load_subset(labelled, SELECTION_FRAMES, skipped, workers)
    source = _load_source(config, method, preset, skipped)
    scored = drawn(test, preset.data.test or _TEST_FRAMES.get(config.target.name))
    return DatasetData(
        source=source.frames,
        target=DatasetFrames(UnlabelledCrops(train, crop), seed + 1, skipped, find_pairs),
        source_joints_m=source.joints_m,
        evaluation=_evaluation(LabelledCrops(scored, crop), skeleton, skipped, workers),
        selection=SelectionData(measured.unlabelled(), measured),
        labelled_target=DatasetFrames(labelled, seed, skipped, find_pairs),
        frame_labels=measured,
        published=_published(target.title, source.title) if skeleton.name in PUBLISHED_JOINTS else (),
        unusable={**train.skipped, **test.skipped, **source.unusable},
        remarks=(
            f"Labelled: {source.count} frames of {source.title}. Unlabelled: {len(train)} frames of {target.title}.",
        ),
        shown=DatasetFrames(labelled, seed + 1, skipped, find_pairs),
        skipped_list=skipped,
    )


def _published(target: str, source: str) -> tuple[PublishedRow, ...]:
    """The published numbers of the transfer."""
    return tuple(row for metric in _PUBLISHED_METRICS for row in published_rows(target, metric, source))


def _evaluation(crops: LabelledCrops, skeleton: Skeleton, skipped: SkippedList, workers: int) -> DatasetEvaluation:
    return DatasetEvaluation(
        crops=crops,
        skeleton=skeleton,
        protocol=dataset_protocol(skeleton),
        skipped=skipped,
        scored=scored_in_image(skeleton),
        workers=workers,
    )


@dataclass(frozen=True)
class _Source:
    """The labelled source."""

    title: str
    count: int  # of frames
    frames: Frames[LabelledBatch]
    joints_m: Float[Tensor, "N J 3"]  # true poses
    unusable: Mapping[str, str]  # files that the reader left out, with reasons


def _load_source(config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList) -> _Source:
    """A dataset, of which a frame is read, or renders."""
    title, skeleton = source_title(config), skeleton_of(preset.model)
    if config.source is None:
        rendered = render_source(preset, method, track_of(subject_shown(config)), config.domain, config.seed)
        joints_m = statistics_joints_m(rendered.dataset)
        return _Source(title, len(rendered.dataset), rendered, joints_m, {})
    method_config = preset.config_of(method.name)
    labels = method_config.source_labels(frozenset(method.source_labels))
    method_config.check_source(config.source.name, frozenset(dataset_named(config.source.name).labels))
    frames = open_dataset(config.source, "train", skeleton, preset.data.source_clips, labels)
    crop = CropConfig(preset.model.size_px, hand=shown_hand(config.source, None, bool(skeleton.mirror_of)))
    sequences = dataset_named(config.source.name).sequences
    find_pairs = cache(lambda pairs: dataset_pairs(frames, pairs)) if sequences else None
    stream = DatasetFrames(LabelledCrops(frames, crop), config.seed, skipped, find_pairs, labels)
    joints_m = source_joints(frames, skeleton)
    stream.batches(1).batch(0)
    return _Source(title, len(frames), stream, joints_m, frames.skipped)
