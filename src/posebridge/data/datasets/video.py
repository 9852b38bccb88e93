"""Videos, decoded frame by frame; no video is kept in memory."""

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from posebridge.data.datasets.found_files import visible_files
from posebridge.data.frames import RawFrame
from posebridge.errors import InputError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})


class Video:
    """A video's frames in order: key ``stem_000123``, sequence the file's stem, frame the number from 0.

    Frames that can't be decoded are listed in ``skipped`` and keep their number. Pixels are as stored: a rotation in
    the file's metadata is not applied. Each iteration decodes the video again.
    """

    def __init__(self, path: str | Path, every: int = 1):
        """``every`` n-th frame only. Raises ``InputError`` where the file is no video that can be opened."""
        self.path = Path(path)
        self.every = every
        self.skipped: dict[str, str] = {}
        if every < 1:
            raise InputError(f"{self.path}: cannot keep every {every}th frame; give 1 or more")
        self._open().close()

    def __iter__(self) -> Iterator[RawFrame]:
        """Every frame that can be decoded; raises ``InputError`` where none can."""
        number, decoded, declared = 0, 0, 0
        with self._open() as container:
            declared = container.streams.video[0].frames
            for frame in self._decode(container):
                if isinstance(frame, str):
                    self.skipped[f"{self.path} frame {number}"] = frame
                else:
                    decoded += 1
                    if number % self.every == 0:
                        yield self._raw_frame(frame, number)
                number += 1
        if decoded == 0:
            raise InputError(f"{self.path}: not one frame of the video can be decoded")
        if number < declared:
            self.skipped[f"{self.path} from frame {number}"] = f"the file is cut short: {declared} frames are declared"

    def _open(self) -> InputContainer:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file")
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"{self.path}: not a video that can be opened: {_reason(error)}") from None
        if not container.streams.video:
            container.close()
            raise InputError(f"{self.path}: the file holds no video stream, or is cut short")
        container.streams.video[0].thread_type = "AUTO"
        return container

    def _decode(self, container: InputContainer) -> Iterator[VideoFrame | str]:
        """Yields frames, or the reason for a broken one; ends where the container can't be read further."""
        packets = container.demux(container.streams.video[0])
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                yield f"the file can't be read from here on: {_reason(error)}"
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                yield _reason(error)
                continue
            for frame in frames:
                yield "the frame's data is damaged" if frame.is_corrupt else frame

    def _raw_frame(self, frame: VideoFrame, number: int) -> RawFrame:
        image: np.ndarray = frame.to_ndarray(format="rgb24")
        return RawFrame(image, f"{self.path.stem}_{number:06d}", self.path.stem, number)


class VideoFolder:
    """All videos below a folder, one after the other; broken ones among good ones are listed in ``skipped``."""

    def __init__(self, path: str | Path, every: int = 1):
        """Raises ``InputError`` where the folder holds no video, or two of the same stem (their keys would clash)."""
        self.path = Path(path)
        self.every = every
        self.skipped: dict[str, str] = {}
        self.files = visible_files(self.path, VIDEO_SUFFIXES)
        if not self.files:
            raise InputError(f"{self.path}: the folder holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})")
        stems = [file.stem for file in self.files]
        if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise InputError(f"{self.path}: several videos are called {repeated[0]}; give each its own name")

    def __iter__(self) -> Iterator[RawFrame]:
        """Every frame that can be decoded; raises ``InputError`` where no video gives one."""
        read_any = False
        for file in self.files:
            try:
                video = Video(file, self.every)
                for frame in video:
                    read_any = True
                    yield frame
            except InputError as error:
                self.skipped[str(file)] = str(error).removeprefix(f"{file}: ")
            else:
                self.skipped.update(video.skipped)
        if not read_any:
            raise InputError(f"{self.path}: none of {len(self.files)} videos can be read")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())
