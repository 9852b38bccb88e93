"""Frames as they lie on disk, and what a reader of them offers.

A ``RawFrame`` has no label field. A reader with labels hands them out through a method of its own, ``labels(index)``,
which nothing on the way to an ``UnlabelledBatch`` calls.
"""

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from posebridge.errors import InputError

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_DECODING_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG chunk
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class UnreadableFrameError(InputError):
    """One frame can't be read; the frames around it may be fine."""

    def __init__(self, file: str | Path, reason: str = ""):
        # Torch rebuilds the error of a worker process from its message alone, so the reason has a default.
        super().__init__(f"{file}: {reason}" if reason else str(file))
        self.file = str(file)
        self.reason = reason


@dataclass(frozen=True)
class RawFrame:
    """One frame, whole and unturned, in the pixels of its file. ``box_xyxy`` and ``hand`` are what a detector tells."""

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
    centre_m: np.ndarray | None = None  # (3,) camera frame: where a detector puts the middle of a hand's metric cube

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
    """Labels of one frame, joints in the order of the skeleton in use."""

    uv_px: np.ndarray  # (J, 2) pixels of the file
    valid: np.ndarray  # (J,) bool: labelled at all
    visible: np.ndarray  # (J,) bool: labelled and not hidden
    joints_m: np.ndarray | None = None  # (J, 3) camera frame
    mask: np.ndarray | None = None  # (H, W) bool: all that is seen of the subject, a hand's forearm included
    vertices_m: np.ndarray | None = None  # (V, 3) camera frame
    hand_mask: np.ndarray | None = None  # (H, W) bool: what is seen of the hand beyond its wrist


class FrameStream(Protocol):
    """Frames in their order. ``skipped`` names what could not be read, with the reason, once it has been met."""

    skipped: dict[str, str]

    def __iter__(self) -> Iterator[RawFrame]:
        """Every frame that can be read; raises ``InputError`` where none can."""
        ...


class FrameSource(Protocol):
    """Frames by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RawFrame:
        """The frame; raises ``UnreadableFrameError`` where its file is broken."""
        ...


class LabelledFrames(FrameSource, Protocol):
    """Frames by index, with labels."""

    def labels(self, index: int) -> FrameLabels:
        """The frame's labels."""
        ...


class IndexedFrames(ABC):
    """Base of the readers that find a frame by its index: gives them the stream that skips broken files."""

    skipped: dict[str, str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> RawFrame: ...

    def __iter__(self) -> Iterator[RawFrame]:
        """Every frame that can be read, in order, the others listed in ``skipped``; ``InputError`` where none can."""
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


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, pixels as stored: an EXIF orientation is not applied, so that predictions are in pixels of
    the file as it lies on disk. Raises ``UnreadableFrameError`` for a missing, broken or truncated file, and for one
    with more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            mode = file.mode
            if mode in _MODES:
                return np.asarray(file.convert("RGB"))
    except Image.UnidentifiedImageError:
        raise UnreadableFrameError(path, "not an image, or damaged from its first bytes on") from None
    except _DECODING_ERRORS as error:
        raise UnreadableFrameError(path, _one_line(error)) from None
    raise UnreadableFrameError(path, f"pixels of type {mode}; give 8-bit colour or grey images")


def _one_line(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return " ".join(str(error).split()) or type(error).__name__
