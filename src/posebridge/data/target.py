"""An unlabelled target in colour: an image, a folder of images, a video or a folder of videos."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import check_intrinsics
from posebridge.cameras.pixel_maps import mapped_box, upright_map
from posebridge.contracts.batch import UnlabelledBatch, concatenate
from posebridge.contracts.image_formats import IMAGE_SUFFIXES
from posebridge.data.boxes import Boxes, SubjectBox
from posebridge.data.crops import CropConfig, crop_frame
from posebridge.data.datasets.annotations import camera_matrix
from posebridge.data.datasets.found_files import find_files, visible_files
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.options import BoxOrientation, SequenceBy
from posebridge.data.datasets.video import Video, VideoFolder
from posebridge.data.datasets.video_file import VIDEO_SUFFIXES
from posebridge.data.frames import FrameStream, RawFrame
from posebridge.data.target_config import TargetConfig
from posebridge.errors import InputError


class TargetFrames:
    """Crops of a target in the order of its frames. Each iteration reads the files again.

    ``skipped`` lists unreadable frames and those without a box so far.
    """

    def __init__(
        self,
        frames: FrameStream,
        crop: CropConfig,
        boxes: Boxes | None = None,
        K: np.ndarray | None = None,
        box_orientation: BoxOrientation = "upright",
    ):
        """``box_orientation``: whether boxes are in pixels of the upright or of the stored picture. ``K`` (3, 3) are
        intrinsics of the stored pixels.
        """
        self.frames = frames
        self.crop = crop
        self.boxes = boxes
        self.K = K
        self.box_orientation: BoxOrientation = box_orientation
        self._without_box: dict[str, str] = {}
        self._oriented: set[str] = set()

    @property
    def skipped(self) -> dict[str, str]:
        """Frames and files that were left out, with the reason."""
        return self.frames.skipped | self._without_box

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

    def __iter__(self) -> Iterator[UnlabelledBatch]:
        """Yields batches of one."""
        for _, batch in self.with_files():
            yield batch

    def with_files(self) -> Iterator[tuple[RawFrame, UnlabelledBatch]]:
        """As ``boxed_frames``, each frame with its crop, a batch of one."""
        for frame in self.boxed_frames():
            yield frame, crop_frame(frame, self.crop)

    def boxed_frames(self) -> Iterator[RawFrame]:
        """Yields each frame with its box, hand and intrinsics.

        Raises ``InputError`` where no frame can be read, a box lies outside its image, or no frame has a box.
        """
        given_any = False
        for frame in self.frames:
            if frame.turn or frame.mirror:
                self._oriented.add(frame.key if self.single_files else frame.sequence)
            boxed = self._with_box(frame)
            if boxed is None:
                continue
            given_any = True
            yield boxed
        if not given_any and self.boxes is not None:
            keys = (
                f"its keys are like {next(iter(self.boxes.by_key))}, the frames' like {next(iter(self._without_box))}"
            )
            raise InputError(f"boxes {self.boxes.path}: no frame of the target has a box; {keys}")

    def batches(self, size: int) -> Iterator[UnlabelledBatch]:
        """Yields batches of ``size``, the last one perhaps smaller."""
        waiting: list[UnlabelledBatch] = []
        for sample in self:
            waiting.append(sample)
            if len(waiting) == size:
                yield concatenate(waiting)
                waiting = []
        if waiting:
            yield concatenate(waiting)

    def _with_box(self, frame: RawFrame) -> RawFrame | None:
        frame = frame if self.K is None else replace(frame, K=self.K)
        if self.boxes is None:
            return frame
        box = self._stored_box(frame, self.boxes)
        if box is None:
            self._without_box[frame.key] = f"no box in {self.boxes.path}"
            return None
        return replace(frame, box_xyxy=box.xyxy, hand=box.hand)

    def _stored_box(self, frame: RawFrame, boxes: Boxes) -> SubjectBox | None:
        """The frame's box in pixels of the file."""
        height, width = frame.shape
        if self.box_orientation == "stored":
            return boxes.get(frame.key, width, height)
        box = boxes.get(frame.key, *((height, width) if frame.turn % 2 else (width, height)))
        if box is None:
            return None
        T_file_upright = np.linalg.inv(upright_map(width, height, frame.turn, frame.mirror))
        return replace(box, xyxy=mapped_box(box.xyxy, T_file_upright))


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
    return TargetFrames(frames, crop, boxes, K, config.box_orientation)


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
