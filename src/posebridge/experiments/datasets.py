"""Public colour datasets as the data of a run: frames stay on disk and are cropped when they are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import dataset_pairs
from posebridge.data.datasets.dataset import Subject
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.skipped_list import SkippedList
from posebridge.deployment.frame_predictions import FramePredictions
from posebridge.errors import InputError
from posebridge.evaluation.protocols import PCK_005, PCK_005_BODY, EvaluationProtocol
from posebridge.evaluation.published import published_rows
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.data import ExperimentData, SelectionData
from posebridge.experiments.dataset_frames import (
    SKELETONS,
    SOURCE_STATISTICS,
    drawn,
    load_subset,
    open_dataset,
    shown_hand,
    source_joints,
)
from posebridge.experiments.evaluation_sets import DatasetEvaluation
from posebridge.experiments.preset import Preset
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.tracks import colour_track
from posebridge.experiments.train_config import subject_shown
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.base import MethodConfig
from posebridge.methods.registry import MethodEntry
from posebridge.skeletons.body import MPII16
from posebridge.training.frames import DatasetFrames, Frames, InMemoryFrames

# Of the published tables.
PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    "hand": replace(PCK_005, root="middle_1", reference_bone=("middle_1", "middle_2")),
    "body": replace(PCK_005_BODY, groups=MPII16.groups, reference_bone=MPII16.reference_bone),
}
_PUBLISHED_METRICS = ("PCK@0.05", "EPE")
_TEST_FRAMES: Mapping[str, int] = {"human3.6m": 3_200}  # scored in the published tables
_SHOWN_PAIRS = 16


def scored_in_image(subject: str) -> tuple[str, ...] | None:
    """The joints that count in the image; None: all."""
    return None if subject == "hand" else tuple(joint for joints in MPII16.groups.values() for joint in joints)


@dataclass(frozen=True)
class DatasetData(ExperimentData):
    """Public datasets."""

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
    subject, seed = subject_shown(config), config.seed
    if config.target_split == "both":
        raise InputError(f"{target.name} is adapted to in one of its splits: give --target-split train or test")
    crop = CropConfig(preset.size_px, hand=shown_hand(config.target, config.hand, subject))
    train, test = (open_dataset(config.target, split, preset, subject) for split in (config.target_split, "test"))
    labelled = LabelledCrops(train, crop)
    find_pairs = cache(lambda pairs: dataset_pairs(train, pairs))
    pairs = preset.config_of(method.name).target_pairs
    if method.target == "pairs" and pairs is not None:
        find_pairs(pairs)
    measured = load_subset(labelled, SELECTION_FRAMES, skipped, workers)
    source = _load_source(config, method, preset, skipped, subject)
    scored = drawn(test, preset.data.test or _TEST_FRAMES.get(config.target.name))
    return DatasetData(
        source=source.frames,
        target=DatasetFrames(UnlabelledCrops(train, crop), seed + 1, skipped, find_pairs),
        source_joints_m=source.joints_m,
        evaluation=_evaluation(LabelledCrops(scored, crop), subject, skipped, workers),
        selection=SelectionData(measured.unlabelled(), measured),
        labelled_target=DatasetFrames(labelled, seed, skipped, find_pairs),
        frame_labels=measured,
        published=tuple(
            row for metric in _PUBLISHED_METRICS for row in published_rows(target.title, metric, source.title)
        ),
        unusable={**train.skipped, **test.skipped, **source.unusable},
        remarks=(
            f"Labelled: {source.count} frames of {source.title}. Unlabelled: {len(train)} frames of {target.title}.",
        ),
        shown=DatasetFrames(labelled, seed + 1, skipped, find_pairs),
        skipped_list=skipped,
    )


def _evaluation(crops: LabelledCrops, subject: Subject, skipped: SkippedList, workers: int) -> DatasetEvaluation:
    return DatasetEvaluation(
        crops=crops,
        skeleton=SKELETONS[subject],
        protocol=PROTOCOLS[subject],
        skipped=skipped,
        scored=scored_in_image(subject),
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


def source_title(config: TrainConfig) -> str:
    """The name of the source in titles and tables."""
    return f"{config.domain} renders" if config.source is None else dataset_named(config.source.name).title


def _load_source(
    config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList, subject: Subject
) -> _Source:
    """A dataset, of which a frame is read, or renders."""
    labels, title = frozenset(method.source_labels), source_title(config)
    if config.source is None:
        count, track = preset.data.source, colour_track(subject)
        assert count is not None
        with rendering_progress(count) as on_progress:
            loader = RenderLoader(track=track.name, preset=preset, labels=labels, on_progress=on_progress)
            rendered = loader.load(config.domain, count, config.seed)
        joints_m = rendered.without_images()[:SOURCE_STATISTICS].joints_m
        assert joints_m is not None
        return _Source(title, count, InMemoryFrames(rendered, config.seed), joints_m, {})
    frames = open_dataset(config.source, "train", preset, subject, labels)
    crops = LabelledCrops(frames, CropConfig(preset.size_px, hand=shown_hand(config.source, None, subject)))
    sequences = dataset_named(config.source.name).sequences
    find_pairs = cache(lambda pairs: dataset_pairs(frames, pairs)) if sequences else None
    stream = DatasetFrames(crops, config.seed, skipped, find_pairs)
    joints_m = source_joints(frames)
    stream.batches(1).batch(0)
    return _Source(title, len(frames), stream, joints_m, frames.skipped)


def check_source(config: TrainConfig, subject: Subject) -> None:
    """Raise ``InputError`` where the source can't be trained on for a colour target of this subject."""
    if config.source is None:
        track = colour_track(subject)
        if SKELETONS[subject] is not track.skeleton:
            raise InputError(f"renders have the joints of {track.skeleton.name}: give --source, a labelled dataset")
        return
    source = dataset_named(config.source.name)
    source.check_labelled(config.source.options)
    if source.sensor != "colour":
        raise InputError(f"{source.name} is depth, and {config.target.name} is colour: choose two of a kind")
    if source.subject not in (subject, None):
        raise InputError(f"{source.name} and {config.target.name} show a hand and a body: choose two of a kind")
