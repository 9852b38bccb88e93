"""What a published transfer is: a labelled dataset, another one without labels, joints, a protocol, sizes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.contracts.record import PublishedRow
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.dataset_stream import ordered_batches
from posebridge.data.frames import LabelledFrames, UnreadableFrameError
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.errors import InputError
from posebridge.evaluation.protocols import EvaluationProtocol
from posebridge.evaluation.published import find_published
from posebridge.methods.geometric_reconstruction.config import GeometricReconstructionConfig
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.networks.pose_resnet import PoseResNetConfig
from posebridge.networks.vgg import VggConfig
from posebridge.recipes.trained_features import vggs_of, with_weights
from posebridge.representations.pose_maps import PoseMaps
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.source_training import SourceTrainingConfig

TransferName = Literal["rhd-to-h3d", "rhd-to-mvhand", "surreal-to-human36m", "surreal-to-3dpw"]
TransferMethod = Literal[
    "source-only", "mean-teacher", "integrated-pseudo-labels", "geometric-reconstruction", "supervised-target"
]
Part = Literal["train", "test"]

_SOURCE_STATISTICS = 2048  # source frames from which bone lengths are taken
_TEST_SEED = 42  # of the draw of test frames, where not all of them are scored


@dataclass(frozen=True)
class TransferSize:
    """How large a network, how long it trains, and how much of the sets it sees."""

    name: str
    size_px: int
    network: PoseResNetConfig
    maps: PoseMaps
    source: SourceTrainingConfig
    supervised_target: SourceTrainingConfig
    mean_teacher: MeanTeacherConfig
    geometric_reconstruction: GeometricReconstructionConfig
    source_clips: int | None  # of SURREAL, evenly chosen; None: all
    test_frames: int | None  # drawn from the test split with a fixed seed; None: all
    space_mb: int  # what a run leaves on disk, checkpoints included

    def geometric_of(self, method: TransferMethod) -> GeometricReconstructionConfig:
        """The config of geometric reconstruction; or of its pseudo-labels alone, for as many steps."""
        whole = self.geometric_reconstruction
        return whole.without_reconstruction() if method == "integrated-pseudo-labels" else whole

    def vgg_of(self, method: TransferMethod) -> tuple[VggConfig, ...]:
        """The trained networks whose features a method needs beside its own."""
        if method == "mean-teacher":
            return vggs_of(self.mean_teacher)
        geometric = method in ("integrated-pseudo-labels", "geometric-reconstruction")
        return vggs_of(self.geometric_of(method)) if geometric else ()

    def with_weights(self, encoder: str | None, vgg: str | None) -> "TransferSize":
        """The size with weights from elsewhere: "timm", a file, or "none". None leaves them as they are."""
        return with_weights(self, encoder, vgg)


@dataclass(frozen=True)
class TransferSet:
    """One of the two datasets."""

    name: str  # in the papers' tables
    holds: str  # what lies in its folder, for whoever gives another one
    read: Callable[[Path, Part, TransferSize], LabelledFrames]  # joints in the order of the plan's skeleton
    # Left hands are mirrored. None: nothing is mirrored (bodies).
    hand: Literal["left", "right", "annotated"] | None = None
    hand_is_said: bool = True  # by the release, or it is no hand

    def open(self, folder: Path, part: Part, size: TransferSize) -> LabelledFrames:
        """The frames of a part. Raises ``InputError`` for a folder that isn't there or isn't the set's."""
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: give the one of {self.name}, which holds {self.holds}")
        return self.read(folder, part, size)


@dataclass(frozen=True)
class TransferPlan:
    """One transfer."""

    name: TransferName
    source: TransferSet
    target: TransferSet
    skeleton: Skeleton
    protocol: EvaluationProtocol
    sizes: Mapping[str, TransferSize]
    metrics: tuple[str, ...] = ("PCK@0.05",)  # in which numbers are published, by ``published_tables.METRICS``
    scored: tuple[str, ...] | None = None  # joints that count in the image; None: all

    def sized(self, config: "TransferConfig") -> TransferSize:
        """The numbers behind a run."""
        return self.sizes[config.size].with_weights(config.encoder_weights, config.vgg_weights)

    def published(self) -> tuple[PublishedRow, ...]:
        """What the papers tell of this transfer."""
        return tuple(
            row for metric in self.metrics for row in find_published(self.target.name, metric, self.source.name)
        )


@dataclass(frozen=True)
class TransferConfig:
    """A run of a transfer."""

    recipe: TransferName
    source: Path
    target: Path
    method: TransferMethod = "geometric-reconstruction"
    size: Literal["small", "full"] = "small"
    seed: int = 0
    hand: Literal["left", "right"] | None = None  # that the target shows, where its release doesn't say
    encoder_weights: str | None = (
        None  # of the pose network's encoder: "timm", a file, "none"; None: as the size has it
    )
    vgg_weights: str | None = None  # of the VGG behind style and redrawing, likewise


@dataclass(frozen=True)
class TransferData:
    """The datasets as crops. Labels of the target are here for measuring; methods get ``target``."""

    source: LabelledCrops
    target: UnlabelledCrops
    target_labelled: LabelledCrops
    test: LabelledCrops
    skipped: Mapping[str, str] = field(default_factory=dict)  # what the readers left out


def open_transfer(plan: TransferPlan, config: TransferConfig, size: TransferSize) -> TransferData:
    """The datasets of a run. Raises ``InputError`` where a folder, an annotation or the word on the hand is wrong."""
    hand = plan.target.hand
    if config.hand is not None:
        if plan.target.hand_is_said:
            raise InputError(f"{plan.target.name} needs no word on the hand: leave --hand out")
        hand = config.hand
    source = plan.source.open(config.source, "train", size)
    target = plan.target.open(config.target, "train", size)
    test = plan.target.open(config.target, "test", size)
    skipped = {file: why for frames in (source, target, test) for file, why in getattr(frames, "skipped", {}).items()}
    crop = CropConfig(size.size_px, hand=hand)
    return TransferData(
        source=LabelledCrops(source, CropConfig(size.size_px, hand=plan.source.hand)),
        target=UnlabelledCrops(target, crop),
        target_labelled=LabelledCrops(target, crop),
        test=LabelledCrops(_drawn(test, size.test_frames), crop),
        skipped=skipped,
    )


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


def source_joints(frames: LabelledFrames) -> Float[Tensor, "n J 3"]:
    """Joints in metres of evenly chosen frames, those without a gap. Raises ``InputError`` where there is none."""
    found = []
    for index in np.linspace(0, len(frames) - 1, min(_SOURCE_STATISTICS, len(frames))).astype(int):
        try:
            labels = frames.labels(int(index))
        except UnreadableFrameError:  # noted when it is drawn
            continue
        if labels.joints_m is not None and labels.valid.all():
            found.append(torch.from_numpy(labels.joints_m).float())
    if len(found) < 2:
        raise InputError("the source has no two frames with all joints in space, from which lengths of bones are taken")
    return torch.stack(found)
