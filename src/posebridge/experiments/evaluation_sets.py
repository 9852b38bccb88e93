"""The frames that a run predicts, with their labels where there are any: predicted, scored, shown."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from posebridge.contracts.batch import BatchT, LabelledBatch, UnlabelledBatch, concatenate
from posebridge.contracts.keypoint_set import KeypointSet, join
from posebridge.contracts.record import GalleryFrame, Score
from posebridge.contracts.roles import Role
from posebridge.data.crops import LabelledCrops
from posebridge.data.dataset_stream import ordered_batches
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.skipped_list import SkippedList
from posebridge.data.subset import Subset
from posebridge.deployment.frame_predictions import FramePredictions, keypoints_as, predict_frames
from posebridge.deployment.predictor import Predictor, file_pixels
from posebridge.evaluation.evaluate import evaluate, frame_errors_px, select_example_frames
from posebridge.evaluation.gallery import gallery
from posebridge.evaluation.protocols import EvaluationProtocol
from posebridge.evaluation.target_labels import crop_side, in_crops
from posebridge.skeletons.skeleton import Skeleton

_BATCH = 64


class EvaluationSet(ABC):
    """Frames of the target that the trained models predict."""

    protocol: EvaluationProtocol

    @abstractmethod
    def predict(self, predictors: Mapping[Role, Predictor]) -> dict[Role, FramePredictions]:
        """The predictions of every model."""

    @abstractmethod
    def score(self, predictions: FramePredictions) -> Score | None:
        """The score of predictions; None for frames without labels."""

    @abstractmethod
    def gallery(self, keypoints: KeypointSet) -> tuple[GalleryFrame, ...]:
        """Example frames with predictions."""

    @property
    @abstractmethod
    def frames(self) -> UnlabelledBatch:
        """The frames, without colour images."""


@dataclass(frozen=True)
class InMemoryEvaluation(EvaluationSet):
    """Frames in memory. Scores are in pixels of the crops, each brought to the side of the median crop."""

    crops: InMemoryDataset[UnlabelledBatch]
    truth: KeypointSet | None
    protocol: EvaluationProtocol
    cube_m: float | None = None  # side of the cube of depth crops, which are shown as closeness
    skeleton: Skeleton | None = None  # of labelled hands; None: the model's
    scored: tuple[str, ...] | None = None  # labelled joints that count; None: all
    failed: frozenset[str] = frozenset()  # keys of frames in which no hand was found

    @property
    def frames(self) -> UnlabelledBatch:
        """The frames, without colour images."""
        return self.crops.without_images()

    def predict(self, predictors: Mapping[Role, Predictor]) -> dict[Role, FramePredictions]:
        """The predictions of every model."""
        return {role: predict_frames(predictor, self.crops) for role, predictor in predictors.items()}

    def score(self, predictions: FramePredictions) -> Score | None:
        """The score by the protocol; None without labels."""
        if self.truth is None:
            return None
        keypoints, crop_px = predictions.keypoints, crop_width_px(self.crops)
        if self.skeleton is not None:
            keypoints = keypoints_as(self.skeleton, predictions, self.frames)
        side_px = crop_side(self.frames, crop_px)
        predicted = in_crops(keypoints, self.frames, side_px / crop_px)
        true = in_crops(_joints_of(self.truth, self.scored), self.frames, side_px / crop_px)
        return evaluate(predicted, true, side_px, self.protocol, self.failed)

    def gallery(self, keypoints: KeypointSet) -> tuple[GalleryFrame, ...]:
        """The best, median and worst frames, or evenly chosen ones without labels."""
        truth = self.truth
        if truth is not None and not set(truth.joint_names or ()) & set(keypoints.joint_names or ()):
            truth = None  # joints between those of the skeleton can't be drawn beside it
        return gallery(self.crops, keypoints, truth, self.cube_m)


def crop_width_px(crops: InMemoryDataset[BatchT]) -> int:
    """The width of crops, all of which have the same."""
    pixels = first.depth_m if (first := crops[0]).image is None else first.image
    assert pixels is not None
    return pixels.shape[-1]


def _joints_of(keypoints: KeypointSet, joints: tuple[str, ...] | None) -> KeypointSet:
    """The keypoints of the named joints, or all of them without names."""
    if joints is None:
        return keypoints
    assert keypoints.joint_names is not None
    places = np.array([keypoints.joint_names.index(joint) for joint in joints])
    return keypoints.take(np.arange(len(keypoints)), places)


def truth_of(batch: LabelledBatch, joint_names: tuple[str, ...]) -> KeypointSet:
    """The labels of a batch, in pixels of its files."""
    assert batch.uv_px is not None
    assert batch.valid is not None
    return KeypointSet(
        key=np.array(batch.key),
        joint_names=joint_names,
        uv_px=file_pixels(batch.uv_px, batch.T_crop_file).numpy(),
        xyz_mm=None if batch.joints_m is None else 1000 * batch.joints_m.numpy(),
        valid=batch.valid.numpy(),
    )


@dataclass
class DatasetEvaluation(EvaluationSet):
    """Labelled frames that stay on disk: every model predicts them in one pass."""

    crops: LabelledCrops
    skeleton: Skeleton
    protocol: EvaluationProtocol
    skipped: SkippedList
    scored: tuple[str, ...] | None = None  # joints that count in the image; None: all
    workers: int = 0
    _batch: LabelledBatch | None = None  # the frames that could be read, without images
    _positions: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # of these frames among the crops

    @property
    def labelled(self) -> LabelledBatch:
        """The frames that could be read, with labels and without images. Raises ``ValueError`` before ``predict``."""
        if self._batch is None:
            raise ValueError("these frames are read while they are predicted: call predict first")
        return self._batch

    @property
    def frames(self) -> UnlabelledBatch:
        """The frames that could be read, without images."""
        return self.labelled.unlabelled()

    def predict(self, predictors: Mapping[Role, Predictor]) -> dict[Role, FramePredictions]:
        """The predictions of every model. Raises ``InputError`` where no frame can be read."""
        read: list[LabelledBatch] = []
        positions: list[int] = []
        parts: dict[Role, list[KeypointSet]] = {role: [] for role in predictors}
        with tqdm(total=len(self.crops), desc="predict", unit="frame", mininterval=2.0, dynamic_ncols=True) as bar:
            for indices, batch in ordered_batches(self.crops, _BATCH, self.skipped, workers=self.workers):
                for role, predictor in predictors.items():
                    parts[role].append(predictor.predict_batch(batch.unlabelled()))
                read.append(replace(batch, image=None))
                positions += indices
                bar.update(len(batch))
        self._batch, self._positions = concatenate(read), np.array(positions)
        return {role: FramePredictions(predictors[role], join(found)) for role, found in parts.items()}

    def score(self, predictions: FramePredictions) -> Score:
        """The score by the protocol, in pixels of the crops."""
        return evaluate(self.in_crops(predictions.keypoints), self.truth, self.crops.config.size_px, self.protocol)

    @property
    def truth(self) -> KeypointSet:
        """The labels in pixels of the crops; joints that don't count are missing in the image."""
        truth = self.in_crops(truth_of(self.labelled, self.skeleton.joints))
        if self.scored is None or truth.uv_px is None:
            return truth
        counts = np.isin(self.skeleton.joints, self.scored)
        return replace(truth, uv_px=np.where(counts[:, None], truth.uv_px, np.nan))

    def gallery(self, keypoints: KeypointSet) -> tuple[GalleryFrame, ...]:
        """The best, median and worst frames, which are read again."""
        prediction = self.in_crops(keypoints)
        truth = self.in_crops(truth_of(self.labelled, self.skeleton.joints))
        keys = [key for key, _ in select_example_frames(frame_errors_px(prediction, truth))]
        rows = np.flatnonzero(np.isin(prediction.key, keys))
        chosen = LabelledCrops(Subset(self.crops.frames, self._positions[rows]), self.crops.config)
        batch = concatenate([crop for _, crop in ordered_batches(chosen, _BATCH, self.skipped)])
        every = np.arange(len(self.skeleton))
        # The keypoints are in pixels of the crops already.
        shown = InMemoryDataset.of_batch(replace(batch, T_crop_file=None))
        return gallery(shown, prediction.take(rows, every), truth.take(rows, every))

    def in_crops(self, keypoints: KeypointSet) -> KeypointSet:
        """Keypoints of these frames, from pixels of the files to pixels of the crops."""
        return in_crops(keypoints, self.labelled)
