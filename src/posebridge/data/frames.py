"""Frames as they lie on disk, and the interface of the readers that return them.

A ``RawFrame`` has no label field. Readers return labels from a separate method, ``labels(index)``. No code that makes
an ``UnlabelledBatch`` calls it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from posebridge.errors import InputError, printable

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


class UnreadableFrameError(InputError):
    """One frame can't be read. Other frames of the same reader may be readable."""

    def __init__(self, file: str | Path, reason: str = ""):
        # Torch rebuilds the error of a worker process from its message alone, so the reason has a default.
        super().__init__(f"{file}: {reason}" if reason else str(file))
        self.file = str(file)
        self.reason = printable(reason)


@dataclass(frozen=True)
class RawFrame:
    """One whole frame in the pixels of its file. ``box_xyxy`` and ``hand`` are what a detector would give."""

    image: np.ndarray | None  # (H, W, 3) uint8 RGB; None for depth sensors
    key: str
    sequence: str = ""
    frame: int = 0
    view: int = 0
    K: np.ndarray | None = None  # (3, 3) intrinsics of the file's pixels
    box_xyxy: np.ndarray | None = None  # (4,) pixels of the file; None: the whole image
    hand: Side | None = None
    depth_m: np.ndarray | None = None  # (H, W) metres, 0 or NaN where the sensor gave none
    distortion: np.ndarray | None = None  # (5,) k1 k2 p1 p2 k3 of the file's lens
    T_world_cam: np.ndarray | None = None  # (4, 4) camera -> the world that calibrated views share
    centre_m: np.ndarray | None = None  # (3,) camera frame: centre of the hand's metric cube
    turn: int = 0  # quarter turns clockwise, 0 to 3, that bring the stored pixels upright
    mirror: bool = False  # the stored pixels are mirrored left-right before they are turned
    file: Path | None = None  # the image, or the video, that a user's frame comes from

    @property
    def rgb(self) -> np.ndarray:
        """The colour image (H, W, 3). Raises ``InputError`` for a depth sensor's frame."""
        if self.image is None:
            raise InputError(f"{self.key}: a colour image is needed here, and this frame is depth alone")
        return self.image

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of the file."""
        pixels = self.image if self.image is not None else self.depth_m
        if pixels is None:
            raise ValueError(f"{self.key}: a frame without pixels")
        return pixels.shape[0], pixels.shape[1]


@dataclass(frozen=True)
class FrameLabels:
    """Labels of one frame. Joints are in the order of the reader's skeleton."""

    uv_px: np.ndarray  # (J, 2) pixels of the file
    valid: np.ndarray  # (J,) bool: labelled, visible or not
    visible: np.ndarray  # (J,) bool: labelled and not hidden
    joints_m: np.ndarray | None = None  # (J, 3) camera frame
    mask: np.ndarray | None = None  # (H, W) bool: all that is seen of the subject, a hand's forearm included
    vertices_m: np.ndarray | None = None  # (V, 3) camera frame
    hand_mask: np.ndarray | None = None  # (H, W) bool: what is seen of the hand beyond its wrist


@dataclass(frozen=True)
class FrameIndex:
    """Sequence, frame number and view of N frames, in the order of their reader. No image is opened for it.

    Frames with the same ``sequence`` and ``view`` are one video. Frames with the same ``sequence`` and ``frame`` show
    the same instant.
    """

    sequence: tuple[str, ...]  # N names
    frame: np.ndarray  # (N,) int64, numbers within the sequence
    view: np.ndarray  # (N,) int64, numbers of the cameras

    @classmethod
    def of(cls, places: Iterable[tuple[str, int, int]]) -> "FrameIndex":
        """The index of frames given one by one as (sequence, frame, view)."""
        rows = list(places)
        numbers = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 2)
        return cls(tuple(row[0] for row in rows), numbers[:, 0], numbers[:, 1])

    def take(self, positions: np.ndarray) -> "FrameIndex":
        """The index of the frames at these positions (M,), in their order."""
        return FrameIndex(tuple(self.sequence[i] for i in positions), self.frame[positions], self.view[positions])


class FrameStream(Protocol):
    """Frames in their order. ``skipped`` maps files that could not be read so far to the reason."""

    skipped: dict[str, str]

    def __iter__(self) -> Iterator[RawFrame]:
        """Yields every readable frame. Raises ``InputError`` where none is readable."""
        ...


class FrameSource(Protocol):
    """Frames by index: what a target needs."""

    @property
    def skipped(self) -> dict[str, str]:
        """Files and annotations that are left out, with the reason."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        ...

    def frame_index(self) -> FrameIndex:
        """Returns sequence, number and view of every frame. Raises ``InputError`` for frames without sequences."""
        ...


class LabelledFrames(FrameSource, Protocol):
    """Frames by index, with labels: what a source needs."""

    def labels(self, index: int) -> FrameLabels:
        """Returns the frame's labels."""
        ...


class IndexedFrames(ABC):
    """Base class of the readers: iterates over the frames and skips broken files."""

    skipped: dict[str, str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> RawFrame: ...

    def __iter__(self) -> Iterator[RawFrame]:
        """Yields every readable frame in order and lists the others in ``skipped``.

        Raises ``InputError`` where no frame is readable.
        """
        read_any, last_error = False, None
        for index in range(len(self)):
            try:
                frame = self[index]
            except UnreadableFrameError as error:
                last_error = error
                self.skipped[error.file] = error.reason
                continue
            read_any = True
            yield frame
        if not read_any:
            raise InputError(f"none of {len(self)} images can be read, the last one because: {last_error}")

    def frame_index(self) -> FrameIndex:
        """Returns sequence, number and view of every frame; readers of videos override it.

        Raises ``InputError``: frames of this reader are single images.
        """
        raise InputError(f"{type(self).__name__}: its frames are single images; pairs of frames need a set of videos")
