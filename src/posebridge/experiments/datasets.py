"""Public colour datasets as the data of a run: frames stay on disk and are cropped when they are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.contracts.source_labels import SourceLabels
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import dataset_pairs, ordered_batches
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.frames import LabelledFrames, UnreadableFrameError
from posebridge.data.pairs import PairConfig
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.errors import InputError
from posebridge.evaluation.protocols import PCK_005, PCK_005_BODY, EvaluationProtocol
from posebridge.evaluation.published import find_published
from posebridge.experiments.configs import DatasetRef, TrainConfig
from posebridge.experiments.data import ExperimentData, SelectionData
from posebridge.experiments.evaluation_sets import DatasetEvaluation
from posebridge.experiments.preset import Preset
from posebridge.experiments.renders import RenderLoader, rendering_progress
from posebridge.experiments.tracks import TRACKS
from posebridge.experiments.training import SELECTION_FRAMES
from posebridge.methods.base import MethodConfig
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.registry import MethodEntry
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.frames import DatasetFrames, Frames, InMemoryFrames

# Skeleton and protocol of the published tables.
SKELETONS: Mapping[str, Skeleton] = {"hand": HAND21, "body": MPII16}
PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    "hand": replace(PCK_005, root="middle_1", reference_bone=("middle_1", "middle_2")),
    "body": replace(PCK_005_BODY, groups=MPII16.groups, reference_bone=MPII16.reference_bone),
}
MOVING_CAMERA = ("h3d", "3dpw")  # crops of H3D follow the hand, 3DPW was filmed by a phone
_PUBLISHED_METRICS = ("PCK@0.05", "EPE")
_DEFAULT_HAND: Mapping[str, Literal["left", "right"]] = {"h3d": "left"}  # as in the public benchmark
_TEST_FRAMES: Mapping[str, int] = {"human3.6m": 3_200}  # scored in the published tables
_THINNED = 5  # pairs of Human3.6M's videos are then 5, 10 or 15 frames apart
_THINNED_SURREAL = 10
_SOURCE_STATISTICS = 2048  # source frames from which bone lengths are taken
_TEST_SEED = 42  # of the draw of test frames, where not all of them are scored
_SHOWN_PAIRS = 16


def scored_in_image(subject: str) -> tuple[str, ...] | None:
    """The joints that count in the image; None: all."""
    return None if subject == "hand" else tuple(joint for joints in MPII16.groups.values() for joint in joints)


def open_dataset(
    ref: DatasetRef, split: Split, preset: Preset, labels: SourceLabels = frozenset({"joints"})
) -> LabelledFrames:
    """The frames of a split with the labels asked for. Raises ``InputError`` for a wrong folder, split or option."""
    dataset = dataset_named(ref.name)
    options = dataset.loading(labels, _with_defaults(ref, preset))
    skeleton = None if dataset.subject is None else SKELETONS[dataset.subject].name
    return dataset.open(ref.path, split, options, skeleton)


def _with_defaults(ref: DatasetRef, preset: Preset) -> DatasetOptions:
    """The options of a dataset, with the benchmarks' thinning where none is given."""
    defaults: dict[str, object] = {}
    if ref.name == "surreal":
        defaults = {"every": _THINNED_SURREAL, "clips": preset.data.source_clips}
    if ref.name == "human3.6m" and (ref.path / "S11" / "Videos").is_dir():  # extracted frames are thinned already
        defaults = {"every": _THINNED}
    return replace(ref.options, **{name: value for name, value in defaults.items() if name not in ref.options.given()})


def shown_hand(ref: DatasetRef, given: Literal["left", "right"] | None) -> Literal["left", "right", "annotated"] | None:
    """Which hand a dataset shows; None for bodies. Raises ``InputError`` for ``given`` where the release states it."""
    dataset = dataset_named(ref.name)
    if dataset.hand == "unspecified":
        hand = given or _DEFAULT_HAND.get(ref.name)
        if hand is None:
            raise InputError(f"{ref.name} doesn't state which hand it shows: give --hand")
        return hand
    if given is not None:
        raise InputError(f"the release of {ref.name} states which hand it shows: leave --hand out")
    return dataset.hand


@dataclass(frozen=True)
class DatasetData(ExperimentData):
    """Public datasets."""

    crops: LabelledCrops | None = None  # of the target, with labels
    skipped_list: SkippedList | None = None
    names: tuple[str, str] = ("", "")  # titles of source and target

    def pair_labels(self, config: MethodConfig) -> LabelledBatch | None:
        """The first pairs, which are those that are shown, with their labels."""
        if not isinstance(config, GeometricReconstructionConfig) or config.reconstruction is None:
            return None
        assert self.labelled_target is not None
        return self.labelled_target.pairs(_SHOWN_PAIRS, config.reconstruction.pairs).batch(0)

    def skipped(self) -> Mapping[str, str]:
        """What the readers left out, and what could not be read since."""
        return self.unusable if self.skipped_list is None else {**self.unusable, **self.skipped_list.read()}

    def notes(self) -> tuple[str, ...]:
        """How many frames take part."""
        return (*self.remarks, f"Scored on {len(self.evaluation.frames)} frames of the test split of {self.names[1]}.")


def dataset_data(
    config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList, workers: int
) -> DatasetData:
    """The data of a run on colour datasets.

    Raises ``InputError`` for a wrong folder, a label or pair that is missing, and where no frame can be read.
    """
    target = dataset_named(config.target.name)
    subject = target.subject or "hand"
    crop = CropConfig(preset.size_px, hand=shown_hand(config.target, config.hand))
    train, test = (open_dataset(config.target, split, preset) for split in ("train", "test"))
    labelled = LabelledCrops(train, crop)
    find_pairs = cache(lambda pairs: dataset_pairs(train, pairs))
    source, joints_m, source_frames = _source(config, method, preset, skipped, subject)
    measured = load_subset(labelled, SELECTION_FRAMES, skipped, workers)
    scored = _drawn(test, preset.data.test or _TEST_FRAMES.get(config.target.name))
    title = dataset_named(config.source.name).title if config.source else f"{config.domain} renders"
    published = tuple(row for metric in _PUBLISHED_METRICS for row in find_published(target.title, metric, title))
    return DatasetData(
        source=source,
        target=DatasetFrames(UnlabelledCrops(train, crop), config.seed + 1, skipped, find_pairs),
        source_joints_m=joints_m,
        evaluation=DatasetEvaluation(
            crops=LabelledCrops(scored, crop),
            skeleton=SKELETONS[subject],
            protocol=PROTOCOLS[subject],
            skipped=skipped,
            scored=scored_in_image(subject),
            workers=workers,
        ),
        selection=SelectionData(measured.unlabelled(), measured),
        labelled_target=DatasetFrames(labelled, config.seed, skipped, find_pairs),
        frame_labels=measured,
        published=published,
        unusable={**train.skipped, **test.skipped, **source_frames},
        remarks=(f"Labelled: {title}. Unlabelled: {len(train)} frames of {target.title}.",),
        crops=labelled,
        skipped_list=skipped,
        names=(title, target.title),
    )


def _source(
    config: TrainConfig, method: MethodEntry, preset: Preset, skipped: SkippedList, subject: str
) -> tuple[Frames[LabelledBatch], Float[Tensor, "N J 3"], Mapping[str, str]]:
    """The labelled source: a dataset, or renders; with true poses, and with the files that its reader left out."""
    labels = frozenset(method.source_labels)
    if config.source is None:
        track = TRACKS["hand-rgb" if subject == "hand" else "body-rgb"]
        if SKELETONS[subject] is not track.skeleton:
            raise InputError(f"renders have the joints of {track.skeleton.name}: give --source, a labelled dataset")
        count = preset.data.source
        assert count is not None
        with rendering_progress(count) as on_progress:
            loader = RenderLoader(track=track.name, preset=preset, labels=labels, on_progress=on_progress)
            rendered = loader.load(config.domain, count, config.seed)
        joints_m = rendered.without_images()[:_SOURCE_STATISTICS].joints_m
        assert joints_m is not None
        return InMemoryFrames(rendered, config.seed), joints_m, {}
    dataset = dataset_named(config.source.name)
    dataset.check_source(config.source.options)
    frames = open_dataset(config.source, "train", preset, labels)
    crops = LabelledCrops(frames, CropConfig(preset.size_px, hand=shown_hand(config.source, None)))
    find_pairs = cache(lambda pairs: dataset_pairs(frames, pairs)) if dataset.sequences else None
    return DatasetFrames(crops, config.seed, skipped, find_pairs), source_joints(frames), frames.skipped


def check_data(data: DatasetData, pairs: PairConfig | None) -> None:
    """Draw a source frame, and find the target's pairs where they are needed. Raises ``InputError`` where it fails."""
    data.source.batches(1).batch(0)
    if pairs is not None:
        data.target.pairs(1, pairs)


def _drawn(frames: LabelledFrames, count: int | None) -> LabelledFrames:
    """That many frames, the same for every run, in the order of the set; all where there are no more."""
    if count is None or count >= len(frames):
        return frames
    return Subset(frames, np.sort(np.random.default_rng(_TEST_SEED).choice(len(frames), count, replace=False)))


def load_subset(crops: LabelledCrops, count: int, skipped: SkippedList, workers: int = 0) -> LabelledBatch:
    """Evenly chosen crops in memory. Raises ``InputError`` where none can be read."""
    even = np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(int)
    chosen = LabelledCrops(Subset(crops.frames, even), crops.config)
    return concatenate([batch for _, batch in ordered_batches(chosen, 16, skipped, workers)])


def source_joints(frames: LabelledFrames) -> Float[Tensor, "N J 3"]:
    """Joints in metres of evenly chosen frames with all joints. Raises ``InputError`` where there are none."""
    found = []
    for index in np.linspace(0, len(frames) - 1, min(_SOURCE_STATISTICS, len(frames))).astype(int):
        try:
            labels = frames.labels(int(index))
        except UnreadableFrameError:  # noted when it is drawn
            continue
        if labels.joints_m is not None and labels.valid.all():
            found.append(torch.from_numpy(labels.joints_m).float())
    if len(found) < 2:
        raise InputError("the source has no two frames with all joints in metres, from which bone lengths are taken")
    return torch.stack(found)
