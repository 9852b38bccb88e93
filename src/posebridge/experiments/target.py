"""A user's frames, loaded into memory: with sequences of one shot each where a method takes pairs of frames."""

from dataclasses import dataclass

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.crops import crop_frames
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.pairs import PairConfig, pairs_of
from posebridge.data.sequences import Sequences, ShotDetector
from posebridge.data.target import open_target
from posebridge.data.target_config import TargetConfig
from posebridge.deployment.detected_frames import DetectedBoxing
from posebridge.deployment.detection import detected, subject_kind, target_detector
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton
from posebridge.training.frames import InMemoryFrames


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
    config: TargetConfig, size_px: int, skeleton: Skeleton, pairs: PairConfig | None, *, pairs_needed: bool = True
) -> LoadedTarget:
    """Read the frames in crops of side ``size_px``; ``pairs``: those that the method takes, if any.

    Where no two frames make a pair and ``pairs_needed`` is false, the frames are single images, without sequences.

    Raises ``InputError`` for what can't be read, for a hand's side where people are shown, and where pairs are needed
    and no two frames make one.
    """
    frames, kind = open_target(config, size_px), subject_kind(skeleton)
    detector = target_detector(config, kind)
    if detector is not None:
        frames = detected(frames, DetectedBoxing(detector, most_subjects=1), kind)
    crops = crop_frames(frames, frames.crop)
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
