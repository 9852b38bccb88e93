"""Frames of datasets as benchmarks use them: the options of readers, the hand that is shown, and parts of a set."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.contracts.source_labels import JOINTS, SourceLabels
from posebridge.data.crops import LabelledCrops
from posebridge.data.dataset_stream import ordered_batches
from posebridge.data.datasets.dataset_ref import DatasetRef
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.frames import LabelledFrames, Side, UnreadableFrameError
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset, even_positions
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

SOURCE_STATISTICS = 2048  # source frames from which bone lengths are taken
# As in the public benchmarks.
_DEFAULT_HAND: Mapping[str, Side] = {"h3d": "left", "msra": "right"}
_THINNED = 5  # pairs of Human3.6M's videos are then 5, 10 or 15 frames apart
_THINNED_SURREAL = 10
_TEST_SEED = 42  # of the draw of test frames, where not all of them are scored


def open_dataset(
    ref: DatasetRef,
    split: Split,
    skeleton: Skeleton,
    clips: int | None = None,
    labels: SourceLabels = JOINTS,
) -> LabelledFrames:
    """The frames of a split with the given labels, joints in the order of ``skeleton``.

    ``clips`` is the greatest number of clips, for datasets that are read by clips.
    Raises ``InputError`` for a wrong folder, split or option.
    """
    dataset = dataset_named(ref.name)
    options = dataset.loading(labels, with_defaults(ref, clips))
    return dataset.open(ref.path, split, options, skeleton.name)


def with_defaults(ref: DatasetRef, clips: int | None = None) -> DatasetOptions:
    """The options of a dataset, with the benchmarks' thinning and test subject where none are given."""
    defaults: dict[str, object] = {}
    if ref.name == "surreal":
        defaults = {"every": _THINNED_SURREAL, "clips": clips}
    if ref.name == "human3.6m" and (ref.path / "S11" / "Videos").is_dir():  # extracted frames are thinned already
        defaults = {"every": _THINNED}
    if ref.name == "msra":
        defaults = {"test_subject": 0}
    return replace(ref.options, **{name: value for name, value in defaults.items() if name not in ref.options.given()})


def shown_hand(
    ref: DatasetRef, given: Side | None, bodies: bool = False
) -> Literal["left", "right", "annotated"] | None:
    """Which hand a dataset shows; None for ``bodies``.

    Raises ``InputError`` for ``given`` where the release states the hand or shows bodies, and where nothing states it.
    """
    dataset = dataset_named(ref.name)
    if bodies and given is None:
        return None
    if dataset.hand == "unspecified" and not bodies:
        if given is not None and ref.options.hand not in (None, given):
            raise InputError(f"{ref.name}: --hand {given} contradicts hand={ref.options.hand}: give one of them")
        hand = given or ref.options.hand or _DEFAULT_HAND.get(ref.name)
        if hand is None:
            raise InputError(f"{ref.name} doesn't state which hand it shows: give hand=left or hand=right after it")
        return hand
    if given is not None:
        raise InputError(f"the release of {ref.name} states which hand it shows: leave --hand out")
    assert dataset.hand != "unspecified"
    return dataset.hand


def drawn(frames: LabelledFrames, count: int | None) -> LabelledFrames:
    """That many frames, the same for every run, in the order of the set; all where there are no more."""
    if count is None or count >= len(frames):
        return frames
    return Subset(frames, np.sort(np.random.default_rng(_TEST_SEED).choice(len(frames), count, replace=False)))


def load_subset(crops: LabelledCrops, count: int, skipped: SkippedList, workers: int = 0) -> LabelledBatch:
    """Evenly chosen crops in memory. Raises ``InputError`` where none can be read."""
    even = even_positions(len(crops), count, round_down=True)
    chosen = LabelledCrops(Subset(crops.frames, even), crops.config)
    return concatenate([batch for _, batch in ordered_batches(chosen, 16, skipped, workers)])


def source_joints(frames: LabelledFrames, skeleton: Skeleton) -> Float[Tensor, "N J 3"]:
    """Joints in metres of evenly chosen frames with all joints of the skeleton.

    Raises ``InputError`` where there are no two such frames; joints that no frame has are named.
    """
    found, ever_valid = [], np.zeros(len(skeleton), dtype=bool)
    for index in even_positions(len(frames), SOURCE_STATISTICS, round_down=True):
        try:
            labels = frames.labels(int(index))
        except UnreadableFrameError:  # noted when it is drawn
            continue
        ever_valid |= labels.valid
        if labels.joints_m is not None and labels.valid.all():
            found.append(torch.from_numpy(labels.joints_m).float())
    if not ever_valid.any() and not found:
        raise InputError("no frame of the source can be read, or none has labels: choose another source")
    if missing := [name for name, valid in zip(skeleton.joints, ever_valid, strict=True) if not valid]:
        others = "; of bodies, --joints chooses others" if skeleton.mirror_of else ""
        raise InputError(f"the source labels no {', '.join(missing)} of {skeleton.name}: choose another source{others}")
    if len(found) < 2:
        raise InputError(
            "the source has no two frames with all joints in metres, and networks predict depth: choose one "
            "with labels in 3D"
        )
    return torch.stack(found)
