"""Predicted skeletons drawn over their frames, as images and as videos."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import av.error
import cv2
import numpy as np
from av.video.stream import VideoStream

from posebridge.cameras.pixel_maps import apply_map, upright_image, upright_map
from posebridge.contracts.files import prepare_folder, temporary_name, write_atomically
from posebridge.data.frames import RawFrame
from posebridge.errors import InputError
from posebridge.skeletons.joint_colours import joint_rgb
from posebridge.skeletons.skeleton import Skeleton

_HALO = (16, 16, 16)  # RGB
_CONFIDENT = 0.5  # joints below this confidence are rings instead of discs
_MIN_SIDE_PX = 320  # smaller frames are enlarged by a whole factor, so that a finger is more than a few pixels
_BITS = 4  # of a pixel's fraction, for OpenCV's drawing
_MAX_PX = 30_000  # OpenCV's integer coordinates are limited
_JPEG_QUALITY = 92


def draw_pose(image: np.ndarray, uv_px: np.ndarray, confidence: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8 RGB with a skeleton over it; small images are enlarged by a whole factor.

    ``uv_px`` (J, 2) is in pixels of the image, ``confidence`` (J,) in [0, 1]: joints below 0.5 are hollow. Joints that
    aren't finite are left out, with the bones that end there.
    """
    return draw_poses(image, [(uv_px, confidence)], skeleton)


def draw_poses(image: np.ndarray, poses: Iterable[tuple[np.ndarray, np.ndarray]], skeleton: Skeleton) -> np.ndarray:
    """``draw_pose`` with the skeletons of several subjects: ``uv_px`` and ``confidence`` of each."""
    factor = max(1, -(-_MIN_SIDE_PX // max(image.shape[:2])))
    canvas = image.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else image.copy()
    for uv_px, confidence in poses:
        _draw_skeleton(canvas, factor * (uv_px + 0.5) - 0.5, confidence, skeleton)
    return canvas


def _draw_skeleton(canvas: np.ndarray, at_px: np.ndarray, confidence: np.ndarray, skeleton: Skeleton) -> None:
    """Draw one skeleton in place; ``at_px`` (J, 2) is in pixels of the canvas."""
    thick = max(1, round(max(canvas.shape[:2]) / 160))
    finite = np.asarray(np.isfinite(at_px).all(axis=1))
    at = np.clip(np.where(finite[:, None], at_px, 0), -_MAX_PX, _MAX_PX)
    fixed = (at * (1 << _BITS)).round().astype(int)
    for halo in (True, False):
        for parent, child in skeleton.bones:
            if finite[parent] and finite[child]:
                colour = _HALO if halo else joint_rgb(skeleton.joints[child])
                width = thick + 2 if halo else thick
                ends = (fixed[parent].tolist(), fixed[child].tolist())
                cv2.line(canvas, *ends, colour, width, cv2.LINE_AA, _BITS)
    radius = round(1.2 * thick * (1 << _BITS))
    for joint in np.flatnonzero(finite):
        centre, colour = fixed[joint].tolist(), joint_rgb(skeleton.joints[joint])
        cv2.circle(canvas, centre, radius + (1 << _BITS), _HALO, cv2.FILLED, cv2.LINE_AA, _BITS)
        cv2.circle(canvas, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, _BITS)
        if not confidence[joint] >= _CONFIDENT:
            cv2.circle(canvas, centre, radius // 2, _HALO, cv2.FILLED, cv2.LINE_AA, _BITS)


class Overlays(ABC):
    """Base of the writers of drawn frames: at most ``limit`` of them (None: all), of each video of several."""

    def __init__(self, folder: Path, skeleton: Skeleton, limit: int | None):
        self.folder = folder
        self.skeleton = skeleton
        self.limit = limit
        self.drawn = 0
        self.files: set[Path] = set()
        self._of_sequence: dict[str, int] = {}
        self._waiting: tuple[RawFrame, list[tuple[np.ndarray, np.ndarray]]] | None = None  # poses of the last frame

    def add(self, frame: RawFrame, uv_px: np.ndarray, confidence: np.ndarray) -> None:
        """Take the pose of a subject of a frame; ``uv_px`` (J, 2) is in pixels of the file.

        Subjects of one frame follow each other and share its image. They are drawn together on the upright picture,
        when the next frame comes or the writer ends. Raises ``InputError`` where the folder or the disk refuses.
        """
        self._take(frame, [(uv_px, confidence)])

    @abstractmethod
    def add_empty(self, frame: RawFrame) -> None:
        """Take a frame in which there is no subject, or another subject without a pose. Raises as ``add``."""

    def _take(self, frame: RawFrame, poses: list[tuple[np.ndarray, np.ndarray]]) -> None:
        if self._waiting is not None and frame.image is self._waiting[0].image:
            self._waiting[1].extend(poses)
            return
        self._draw_waiting()
        unit = self._unit(frame)
        count = self._of_sequence.get(unit, 0)
        if self.limit is None or count < self.limit:
            self._of_sequence[unit] = count + 1
            self._waiting = (frame, poses)

    def _draw_waiting(self) -> None:
        if self._waiting is not None:
            (frame, poses), self._waiting = self._waiting, None
            height, width = frame.shape
            T_upright_file = upright_map(width, height, frame.turn, frame.mirror)
            image = upright_image(frame.rgb, frame.turn, frame.mirror)
            upright = [(apply_map(T_upright_file, uv_px), confidence) for uv_px, confidence in poses]
            self._write(frame, draw_poses(image, upright, self.skeleton))
            self.drawn += bool(poses)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Draw the last frame and finish the open file; remove that one after an error."""
        try:
            if kind is None:
                self._draw_waiting()
        except BaseException:
            self._close(is_complete=False)
            raise
        self._close(is_complete=kind is None)

    @abstractmethod
    def _close(self, is_complete: bool) -> None:
        """Finish or remove the open file."""

    @abstractmethod
    def _unit(self, frame: RawFrame) -> str:
        """Name of the group of frames to which ``limit`` applies."""

    @abstractmethod
    def _write(self, frame: RawFrame, drawn: np.ndarray) -> None: ...


class ImageOverlays(Overlays):
    """Writes an image for each frame: ``<key>.jpg``."""

    def add_empty(self, frame: RawFrame) -> None:
        """Images without a subject are not drawn."""

    def _close(self, is_complete: bool) -> None:
        """Nothing stays open between frames."""

    def _unit(self, frame: RawFrame) -> str:
        return ""

    def _write(self, frame: RawFrame, drawn: np.ndarray) -> None:
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), options)[1]
        path = self.folder / f"{frame.key}.jpg"
        write_atomically(path, encoded.tobytes())
        self.files.add(path)


class VideoOverlays(Overlays):
    """Writes a video for each video: ``<stem>.mp4``, of all frames that were read, at the original's speed."""

    def __init__(self, folder: Path, skeleton: Skeleton, limit: int | None, rates: dict[str, Fraction]):
        """``rates``: frames a second of each sequence."""
        super().__init__(folder, skeleton, limit)
        self.rates = rates
        self._sequence: str | None = None
        self._video: VideoFile | None = None

    def add_empty(self, frame: RawFrame) -> None:
        """Take a frame in which there is no subject, which is written as it is. Raises as ``add``."""
        self._take(frame, [])

    def _close(self, is_complete: bool) -> None:
        video, self._video = self._video, None
        if video is not None:
            if is_complete:
                video.finish()
            else:
                video.abandon()

    def _unit(self, frame: RawFrame) -> str:
        return frame.sequence

    def _write(self, frame: RawFrame, drawn: np.ndarray) -> None:
        if self._video is None or frame.sequence != self._sequence:
            finished, self._video = self._video, None
            if finished is not None:
                finished.finish()
            path, rate = self.folder / f"{frame.sequence}.mp4", self.rates[frame.sequence]
            self._video, self._sequence = VideoFile(path, drawn.shape[:2], rate), frame.sequence
            self.files.add(path)
        self._video.add(drawn)


class VideoFile:
    """An mp4 that gets its name once it is complete. Every method raises ``InputError`` where the disk refuses."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction):
        """``size``: (height, width) of the first frame; frames of another size are scaled to it."""
        self.path = path
        self.temporary = temporary_name(path)
        with self._raising_input_errors():
            prepare_folder(path)
            self.container = av.open(str(self.temporary), "w", format="mp4")
            name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self.stream = self.container.add_stream(name, rate=rate)
            assert isinstance(self.stream, VideoStream)
            # The usual 4:2:0 colours need even sides: a row or a column is repeated where one is odd.
            self.stream.height, self.stream.width = (side + side % 2 for side in size)
            self.stream.pix_fmt = "yuv420p"
            if name == "libx264":
                self.stream.options = {"crf": "20", "preset": "veryfast"}

    def add(self, drawn: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8 RGB."""
        height, width = drawn.shape[:2]
        even = np.pad(drawn, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        with self._raising_input_errors():
            self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

    def finish(self) -> None:
        """Close the file and rename it."""
        with self._raising_input_errors():
            self.container.mux(self.stream.encode())
            self.container.close()
            self.temporary.replace(self.path)

    def abandon(self) -> None:
        """Remove the incomplete file."""
        if hasattr(self, "container"):
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self.container.close()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _raising_input_errors(self):
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            self.abandon()
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot write {self.path}: {reason}; free some space or choose another folder") from error
