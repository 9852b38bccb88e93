"""A user's frames, loaded into memory: with sequences of one shot each where a method takes pairs of frames."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.subjects import SubjectKind
from posebridge.data.crops import crop_frames
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.mask_files import MaskFiles
from posebridge.data.pairs import PairConfig, pairs_of
from posebridge.data.sequences import Sequences, ShotDetector
from posebridge.data.target import TargetFrames, open_target
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.detected_frames import DetectedBoxing
from posebridge.deployment.detection import PredictedBoxing, detected, detected_crop, following, target_detector
from posebridge.deployment.detections import subject_kind
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.frames import InMemoryFrames

CropT = TypeVar("CropT")


@dataclass(frozen=True)
class LoadedTarget:
    """The frames, the files that were left out with reasons, and the sequences where they were asked for."""

    dataset: InMemoryDataset[UnlabelledBatch]
    skipped: dict[str, str]
    sequences: Sequences | None = None
    orientation: tuple[str, ...] = ()  # a line about the files that carry one

    @property
    def camera_moves(self) -> bool:
        """Whether some sequence has a moving camera."""
        return self.sequences is not None and bool(self.sequences.moving)

    def notes(self) -> tuple[str, ...]:
        """What orientations and sequences show, a line each."""
        if self.sequences is None:
            return self.orientation
        affine = ("reconstructed frames therefore have a background that moves by a predicted affine map",)
        return self.orientation + self.sequences.notes() + (affine if self.camera_moves else ())

    def frames(self, seed: int) -> InMemoryFrames[UnlabelledBatch]:
        """The frames as streams, pairs within one shot."""
        videos = None if self.sequences is None else self.sequences.applied(self.dataset)
        return InMemoryFrames(self.dataset, seed, videos)


def load_target(
    config: TargetConfig,
    size_px: int,
    skeleton: Skeleton,
    pairs: PairConfig | None,
    *,
    pairs_needed: bool = True,
    predictor: CropPredictor | None = None,
    masks: MaskFiles | None = None,
) -> LoadedTarget:
    """Read the frames in crops of side ``size_px``; ``pairs``: those that the method takes, if any.

    ``predictor`` is the model to start from, which may search the frames for its subject. Where no two frames make a
    pair and ``pairs_needed`` is false, the frames are single images, without sequences. ``masks``, where given, keep
    the masks of the crops.

    Raises ``InputError`` for what can't be read, masks that don't fit the frames, a hand's side where people are shown,
    and where pairs are needed and no two frames make one.
    """
    frames, kind = open_target(config, size_px), subject_kind(skeleton)
    frames = _with_detector(frames, config, kind, predictor)
    crops = _shown(crop_frames(frames, frames.crop), frames)
    crops = crops if masks is None else masks.beside(crops)
    if frames.crop.hand is not None and kind == "person":
        raise InputError("people have both hands: leave --hand out, and hand from the boxes, or choose --subject hand")
    if pairs is None:
        dataset = InMemoryDataset(crop for _, crop in crops)
        return LoadedTarget(dataset, frames.skipped, orientation=frames.notes())
    detector = ShotDetector()
    dataset = InMemoryDataset(detector.observed(crops))
    sequences = detector.sequences(pairs, photos=frames.single_files)
    try:
        pairs_of(sequences.applied(dataset).without_images(), pairs)
    except InputError:
        if not pairs_needed:
            return LoadedTarget(dataset, frames.skipped, orientation=frames.notes())
        raise InputError(
            f"{config.path}: {sequences.without_pairs(pairs.stride)}; give videos, a folder of images for each "
            "sequence or another --stride, or adapt by integrated-pseudo-labels, which needs no pairs"
        ) from None
    return LoadedTarget(dataset, frames.skipped, sequences, frames.notes())


def _shown(crops: Iterable[CropT], frames: TargetFrames) -> Iterable[CropT]:
    """The crops with a progress bar, where subjects are searched in many images."""
    if not isinstance(frames.frames, ImageFolder) or not isinstance(frames.boxing, DetectedBoxing):
        return crops
    total = len(frames.frames)
    return tqdm(crops, "0 detection", total, unit="image", mininterval=2.0, delay=2.0, dynamic_ncols=True)


def _with_detector(
    frames: TargetFrames, config: TargetConfig, kind: SubjectKind, predictor: CropPredictor | None
) -> TargetFrames:
    """The frames with the box of the most confident subject, where a detector or the model finds it.

    In videos, the box follows the joints that the model predicts.
    """
    detector = target_detector(config, kind, predictor)
    if detector is None:
        return frames
    if frames.single_files or predictor is None:
        return detected(frames, DetectedBoxing(detector, most_subjects=1), kind)
    followed = following(detector, lambda frame: float(frame.frame), predictor.least_confidence, most_subjects=1)
    return detected(frames, PredictedBoxing(followed, predictor, detected_crop(frames.crop, kind)), kind)
