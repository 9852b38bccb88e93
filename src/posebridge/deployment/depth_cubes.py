"""The hands of a depth dataset as cubes in memory, as the network takes them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from posebridge.contracts.batch import BatchT, LabelledBatch, Observation, concatenate
from posebridge.contracts.source_labels import SourceLabels
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig, LabelledCrops, UnlabelledCrops, crop_cube, crop_cube_labelled
from posebridge.data.dataset_stream import Crops, ordered_batches
from posebridge.data.datasets.benchmark_frames import shown_hand, source_joints, with_defaults
from posebridge.data.datasets.dataset import Dataset
from posebridge.data.datasets.dataset_ref import DatasetRef
from posebridge.data.datasets.options import DatasetOptions, Split
from posebridge.data.datasets.registry import dataset_named
from posebridge.data.filled_cubes import FilledCubes, filled_cube
from posebridge.data.frames import LabelledFrames, RawFrame, Side, UnreadableFrameError
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.located_frames import LocatedFrames, middle_of_range
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset, even_positions
from posebridge.deployment.model_spec import ModelSpec, skeleton_of
from posebridge.deployment.predictor import Predictor
from posebridge.deployment.refined_crops import refined_crops
from posebridge.errors import InputError
from posebridge.representations.depth_image import depth_image

_READ_AT_ONCE = 64


@dataclass(frozen=True)
class LabelledCubes:
    """A labelled source in memory, and true poses of evenly chosen frames, for statistics."""

    dataset: InMemoryDataset[LabelledBatch]
    joints_m: Float[Tensor, "N J 3"]


@dataclass(frozen=True)
class ScoredCubes:
    """Labelled test frames. In those of ``failed``, by key, no hand was found."""

    batch: LabelledBatch
    failed: frozenset[str]


@dataclass(frozen=True)
class DepthCubes:
    """Reads the hands of one dataset as cubes; frames without a hand are noted.

    First crops are cut around the nearest blob, or around centres that the dataset or its options give.
    """

    ref: DatasetRef
    model: ModelSpec
    hand: Side | None
    skipped: SkippedList
    workers: int
    left_out: dict[str, str] = field(default_factory=dict)  # by the readers, with reasons
    # By sequence and key of each crop: the frame that it was cut from, to cut it again.
    _places: dict[tuple[str, str], tuple[LabelledFrames, int]] = field(default_factory=dict)

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
    def refines(self) -> bool:
        """Whether centres are found in the frames, not given."""
        return "centres" in self.dataset.options and self.options.centres in (None, "blob")

    @property
    def options(self) -> DatasetOptions:
        """The given options, with the benchmark's where none are given."""
        return with_defaults(self.ref)

    def open_labelled(self, labels: SourceLabels) -> LabelledFrames:
        """The training split, as a source. Reads no frame.

        Raises ``InputError`` for a dataset whose joints aren't the network's, for one without the labels, and as its
        reader does.
        """
        if self.dataset.skeleton != self.model.skeleton:
            raise InputError(
                f"{self.ref.name} labels the joints of {self.dataset.skeleton}, and the network predicts those of "
                f"{self.model.skeleton}: train on another dataset, or on renders"
            )
        return self._open("train", self.dataset.loading(labels, replace(self.options, views=None)))

    def unlabelled(self, splits: tuple[Split, ...], moments: int | None) -> InMemoryDataset:
        """So many moments of each split, all their views; views that disagree with the others are left out."""
        parts = [_moments(self._open(split, self.options), moments) for split in splits]
        cubes = (batch for frames in parts for batch in self._read(frames, UnlabelledCrops))
        disagreeing: dict[str, str] = {}
        single = (batch[i : i + 1] for batch in cubes for i in range(len(batch)))
        found = InMemoryDataset(agreeing_views(single, self.cube_m, disagreeing))
        for key, reason in disagreeing.items():
            self.skipped.note(key, reason)
        return found

    def test(self, count: int | None) -> ScoredCubes:
        """So many frames of the test split, labelled with the dataset's own joints.

        A readable frame in which no hand is found is cut around the middle of the searched range.
        """
        frames = _evenly(self._open("test", replace(self.options, views=None)), count)
        found = [*self._read(frames, LabelledCrops)]
        read = {index for _, index in self._places.values()}
        missing = (self._without_hand(frames, index) for index in range(len(frames)) if index not in read)
        failed = [cube for cube in missing if cube is not None]
        return ScoredCubes(concatenate([*found, *failed]), frozenset(cube.key[0] for cube in failed))

    def labelled(self, frames: LabelledFrames, count: int | None) -> LabelledCubes:
        """So many frames of those that ``open_labelled`` returned."""
        chosen = _evenly(frames, count)
        dataset = InMemoryDataset(self._read(chosen, LabelledCrops))
        return LabelledCubes(dataset, source_joints(chosen, skeleton_of(self.model)))

    def refined(self, predictor: Predictor, batches: Iterable[BatchT]) -> Iterator[BatchT]:
        """Crops that were read here, in whole moments, as second crops (``refined_crops``). Reads their frames again.

        Crops around given centres are kept, as are those of frames in which no hand was found.
        """
        for batch in batches:
            yield refined_crops(predictor, batch, partial(self._recrop, batch), self.cube_m)

    def _recrop(self, batch: BatchT, i: int, centre_m: np.ndarray) -> BatchT | None:
        place = self._places.get(_name(batch, i))
        if place is None:
            return None
        frames, index = place
        cube = filled_cube(frames[index], centre_m, self._crop, _cut_like(batch, frames, index))
        return None if cube is None else self._as_input(cube)

    def _without_hand(self, frames: LabelledFrames, index: int) -> LabelledBatch | None:
        """The cube of a test frame in which no hand was found; None where the frame can't be read."""
        try:
            frame, labels = frames[index], frames.labels(index)
        except UnreadableFrameError:
            return None
        centre_m = middle_of_range(frame) if frame.centre_m is None else frame.centre_m
        return self._as_input(crop_cube_labelled(replace(frame, centre_m=centre_m), labels, self._crop))

    @property
    def _crop(self) -> CubeCropConfig:
        return CubeCropConfig(self.model.size_px, self.cube_m, shown_hand(self.ref, self.hand))

    def _open(self, split: Split, options: DatasetOptions) -> LabelledFrames:
        """The reader, whose frames have a centre only where the dataset or the options give one.

        Raises ``InputError`` for a dataset of an unknown hand, and as the reader does.
        """
        shown_hand(self.ref, self.hand)
        if self.refines:
            options = replace(options, centres="none")
        frames = self.dataset.open(self.ref.path, split, options)
        self.left_out.update(frames.skipped)
        return frames

    def _read(
        self,
        frames: LabelledFrames,
        crops_of: Callable[[LabelledFrames, CubeCropConfig], Crops[BatchT]],
    ) -> Iterator[BatchT]:
        cubes = FilledCubes(crops_of(LocatedFrames(frames), self._crop), self.cube_m)
        for indices, batch in ordered_batches(cubes, _READ_AT_ONCE, self.skipped, workers=self.workers):
            self._places.update({_name(batch, i): (frames, index) for i, index in enumerate(indices)})
            yield self._as_input(batch)

    def _as_input(self, batch: BatchT) -> BatchT:
        if self.model.takes_depth_m:
            return batch
        assert batch.depth_m is not None
        assert batch.centre_m is not None
        return replace(batch, image=depth_image(batch.depth_m, batch.centre_m, self.cube_m), depth_m=None)


def _cut_like(batch: Observation, frames: LabelledFrames, index: int) -> Callable[[RawFrame, CubeCropConfig], Any]:
    """How a frame is cut to a batch of one, labelled where ``batch`` is."""
    if not isinstance(batch, LabelledBatch):
        return crop_cube
    labels = frames.labels(index)
    return lambda frame, config: crop_cube_labelled(frame, labels, config)


def _name(batch: Observation, i: int) -> tuple[str, str]:
    """Sequence and key of a crop."""
    assert batch.sequence is not None
    return batch.sequence[i], batch.key[i]


def _evenly(frames: LabelledFrames, count: int | None) -> Subset:
    """``count`` evenly chosen frames; None: all."""
    return Subset(frames, even_positions(len(frames), count))


def _moments(frames: LabelledFrames, count: int | None) -> Subset:
    """All frames of ``count`` evenly chosen moments; None: of all."""
    index = frames.frame_index()
    moment_of = list(zip(index.sequence, index.frame.tolist(), strict=True))
    moments = list(dict.fromkeys(moment_of))
    chosen = {moments[i] for i in even_positions(len(moments), count)}
    return Subset(frames, [position for position, moment in enumerate(moment_of) if moment in chosen])
