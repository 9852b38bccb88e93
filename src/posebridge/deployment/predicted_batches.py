"""Batches of frames with their predicted joints, in order. Free of torch."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from posebridge.background import read_ahead
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.frames import RawFrame
from posebridge.data.image_crops import CropConfig, ImageCrops, crop_images
from posebridge.data.target import TargetFrames
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.detected_frames import FollowedBoxing, SmoothedTracks
from posebridge.deployment.predict_config import PredictConfig

_READ_AHEAD = 1  # batches that are read beside the one that is predicted


@dataclass(frozen=True)
class PredictedBatch:
    """Frames in order, some of which may have no subject, and the joints of the others."""

    frames: list[RawFrame]
    rows: np.ndarray  # of the frames with joints
    joints: KeypointSet

    @classmethod
    def of(cls, frames: list[RawFrame], part: KeypointSet, is_subject: np.ndarray) -> "PredictedBatch":
        """A batch of keypoints of all frames, of which those are kept whose frame is of a subject."""
        return cls(frames, np.arange(len(frames)), part)._kept(is_subject)

    def with_joints(self) -> list[RawFrame]:
        """The frames of the joints."""
        return [self.frames[row] for row in self.rows]

    def confident(self, least_confidence: float | None, empty: dict[str, str]) -> "PredictedBatch":
        """The batch with the joints of confident poses. Frames with other poses are listed in ``empty``."""
        if not least_confidence:
            return self
        assert self.joints.confidence is not None
        confidence = self.joints.confidence.mean(axis=1)
        for row, mean in zip(self.rows, confidence, strict=True):
            if mean < least_confidence:
                found = f"mean confidence {mean:.2f} is below {least_confidence:g}"
                empty[self.frames[row].key] = f"no subject in the crop: {found}"
        return self._kept(confidence >= least_confidence)

    def _kept(self, is_kept: np.ndarray) -> "PredictedBatch":
        if is_kept.all():
            return self
        joints = self.joints.take(np.flatnonzero(is_kept), np.arange(self.joints.n_joints))
        return replace(self, rows=self.rows[is_kept], joints=joints)


def predicted_batches(
    target: TargetFrames, read: Iterator[RawFrame], predictor: CropPredictor, config: PredictConfig, gpus: int
) -> Iterator[PredictedBatch]:
    """Batches of frames with their keypoints, in order.

    Frames ``read`` from the target stay in this process while workers have their crops. Those without a subject are
    predicted too, which is faster than their search and keeps one order of frames.
    """
    boxing = target.boxing
    if isinstance(boxing, FollowedBoxing):
        for frame, part in _followed(read, target.crop, boxing, predictor, config.smooth):
            yield PredictedBatch.of([frame], part, np.array([frame.box_xyxy is not None]))
        return
    waiting: deque[list[RawFrame]] = deque()

    def crops() -> Iterator[ImageCrops]:
        for frames, batch in read_ahead(crop_batches(read, target.crop, config.batch_size), _READ_AHEAD):
            waiting.append(frames)
            del frames
            yield batch

    for _, part in config.workers.run(predictor.predict_crops, crops(), ordered=True, gpus=gpus):
        frames = waiting.popleft()
        is_subject = np.array([boxing is None or frame.box_xyxy is not None for frame in frames])
        yield PredictedBatch.of(frames, part, is_subject)


def _followed(
    read: Iterator[RawFrame], crop: CropConfig, boxing: FollowedBoxing, predictor: CropPredictor, smooth: bool
) -> Iterator[tuple[RawFrame, KeypointSet]]:
    """Subjects one by one, since the box of a frame follows the joints of the frame before."""
    smoothing = SmoothedTracks(boxing.time_s)
    for frame in read:
        part = predictor.predict_crops(crop_images([frame], crop))
        if frame.box_xyxy is not None:
            track = boxing.track_of(frame)
            boxing.observe_keypoints(frame, part)
            part = smoothing(frame, track, part) if smooth else part
        yield frame, part


def crop_batches(read: Iterable[RawFrame], crop: CropConfig, size: int) -> Iterator[tuple[list[RawFrame], ImageCrops]]:
    """Batches of ``size`` frames with their crops, the last one perhaps smaller."""
    frames: list[RawFrame] = []
    for frame in read:
        frames.append(frame)
        if len(frames) == size:
            yield frames, crop_images(frames, crop)
            frames = []
    if frames:
        yield frames, crop_images(frames, crop)
