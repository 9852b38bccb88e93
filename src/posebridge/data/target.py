"""An unlabelled target in colour: an image, a folder of images, a video or a folder of videos. Free of torch."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix, check_intrinsics
from posebridge.contracts.image_formats import IMAGE_SUFFIXES
from posebridge.data.boxed_frames import Boxing, FileBoxing
from posebridge.data.boxes import Boxes
from posebridge.data.datasets.found_files import find_files, visible_files
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.options import SequenceBy
from posebridge.data.datasets.video import Video, VideoFolder
from posebridge.data.datasets.video_file import VIDEO_SUFFIXES
from posebridge.data.frames import FrameStream, RawFrame
from posebridge.data.image_crops import CropConfig
from posebridge.data.target_config import TargetConfig
from posebridge.errors import InputError


class TargetFrames:
    """The frames of a target with box, hand and intrinsics, in order. Each iteration reads the files again.

    ``crop`` is how they are to be cut. ``skipped`` lists unreadable frames and those without a box so far, ``read``
    counts the frames that were read in this iteration.
    """

    def __init__(
        self, frames: FrameStream, crop: CropConfig, boxing: Boxing | None = None, K: np.ndarray | None = None
    ):
        """``boxing`` adds boxes; without it, frames keep theirs. ``K`` (3, 3) are intrinsics of the stored pixels."""
        self.frames = frames
        self.crop = crop
        self.boxing = boxing
        self.K = K
        self.read = 0
        self._oriented: set[str] = set()

    @property
    def skipped(self) -> dict[str, str]:
        """Frames and files that were left out, with the reason."""
        return self.frames.skipped | ({} if self.boxing is None else {**self.boxing.skipped})

    @property
    def single_files(self) -> bool:
        """Whether each frame is an image file, so that neighbours may be unrelated."""
        return isinstance(self.frames, ImageFolder)

    def notes(self) -> tuple[str, ...]:
        """A line about the files read so far that carry an orientation; nothing where none does."""
        count = len(self._oriented)
        if count == 0:
            return ()
        files = "1 file carries" if count == 1 else f"{count} files carry"
        return (f"{files} an orientation: the network sees them upright, and coordinates are in pixels as stored",)

    def __iter__(self) -> Iterator[RawFrame]:
        """Raises ``InputError`` where no frame can be read, a box lies outside its image, or no frame has a box."""
        frames = self._read()
        return frames if self.boxing is None else self.boxing.boxed(frames)

    def with_empty(self) -> Iterator[RawFrame]:
        """As iteration, and in their place the frames in which there is no subject: those without a box.

        Where no boxing is used, no frame is empty.
        """
        frames = self._read()
        return frames if self.boxing is None else self.boxing.boxed(frames, with_empty=True)

    def _read(self) -> Iterator[RawFrame]:
        self.read = 0
        for frame in self.frames:
            self.read += 1
            if frame.turn or frame.mirror:
                self._oriented.add(frame.key if self.single_files else frame.sequence)
            yield frame if self.K is None else replace(frame, K=self.K)


def open_target(config: TargetConfig, size_px: int) -> TargetFrames:
    """The target at ``config.path``: an image, a video, or a folder of either, in crops of side ``size_px``.

    Raises ``InputError`` for a missing path, an empty or mixed folder, a file that can't be opened, or bad boxes.
    """
    boxes = None if config.boxes is None else Boxes(config.boxes)
    hand = config.hand
    if hand is None and boxes is not None and boxes.has_hands:
        hand = "annotated"
    K = None if config.intrinsics_px is None else intrinsics_matrix(config.intrinsics_px)
    crop = CropConfig(size_px, config.padding, hand)
    frames = open_frames(config.path, config.every, config.sequence_by)
    boxing = None if boxes is None else FileBoxing(boxes, config.box_orientation)
    return TargetFrames(frames, crop, boxing, K)


def intrinsics_matrix(intrinsics_px: tuple[float, float, float, float]) -> np.ndarray:
    """K (3, 3) from fx fy cx cy. Raises ``InputError`` for numbers that are no camera's, in pixels."""
    K = camera_matrix(*intrinsics_px)
    check_intrinsics(K, "--intrinsics")
    return K


def open_frames(path: str | Path, every: int = 1, sequence_by: SequenceBy = "folder") -> FrameStream:
    """The frames of an image, a video, or a folder of either; ``every`` n-th frame of a video."""
    path = Path(path)
    if path.is_file():
        return Video(path, every) if path.suffix.lower() in VIDEO_SUFFIXES else ImageFolder(path, sequence_by)
    if not path.is_dir():
        raise InputError(f"{path}: {'neither a file nor a folder' if path.exists() else 'no such file or folder'}")
    images, videos = find_files(path, IMAGE_SUFFIXES), visible_files(path, VIDEO_SUFFIXES)
    if images.files and videos:
        raise InputError(f"{path}: the folder holds images and videos; name one of them, or a folder of one kind")
    if not images.files and not videos:
        raise InputError(f"{path}: the folder holds no image and no video{images.example()}")
    return VideoFolder(path, every) if videos else ImageFolder(path, sequence_by)
