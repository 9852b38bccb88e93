"""Single frames of videos by their number, for readers whose labels belong to frames of a video."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError

_LOOK_AHEAD = 24  # frames up to which decoding forward is cheaper than seeking
# Videos of the parent process. Closing them in a fork would wait for decoding threads that only the parent has.
_videos_of_parent: list["OrderedDict[Path, _OpenVideo]"] = []


class VideoAccess:
    """Frames by number. The last few videos stay open at their last position.

    Frames in rising order are decoded once. Others cost decoding from the key frame before them. Every process opens
    its own videos, so that a reader can be passed to worker processes.
    """

    def __init__(self, keep_open: int = 4):
        self.keep_open = keep_open
        self._videos: OrderedDict[Path, _OpenVideo] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, int]:
        return {"keep_open": self.keep_open}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(state["keep_open"])

    def read(self, path: Path, number: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of frame ``number`` from 0. Raises ``UnreadableFrameError`` where there is none."""
        if self._process != os.getpid():  # a fork shares the parent's file positions
            _videos_of_parent.append(self._videos)
            self._videos, self._process = OrderedDict(), os.getpid()
        try:
            if path not in self._videos:
                self._videos[path] = _OpenVideo(path)
            self._videos.move_to_end(path)
            frame = self._videos[path].frame(number)
        except (av.error.FFmpegError, OSError) as error:
            self._close(path)
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UnreadableFrameError(f"{path} frame {number}", reason) from None
        if len(self._videos) > self.keep_open:
            self._close(next(iter(self._videos)))
        if frame is None:
            raise UnreadableFrameError(f"{path} frame {number}", "the video has no such frame, or it is damaged")
        return frame.to_ndarray(format="rgb24")

    def length(self, path: Path) -> int:
        """Number of frames that the file declares, or counted where it doesn't. Raises ``InputError``."""
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                return stream.frames or sum(1 for _ in container.decode(stream))
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise InputError(f"{path}: not a video that can be read: {error}") from None

    def _close(self, path: Path) -> None:
        if video := self._videos.pop(path, None):
            video.container.close()


class _OpenVideo:
    """One video of a constant frame rate, decoded from its last position."""

    def __init__(self, path: Path):
        self.container = av.open(str(path))
        if not self.container.streams.video:
            self.container.close()
            raise OSError(0, "the file holds no video")
        self.stream = self.container.streams.video[0]
        self._frames = self._decode()
        self._next = 0

    def frame(self, number: int) -> VideoFrame | None:
        """The frame, None where the video ends before it or jumps over it."""
        if not self._next <= number < self._next + _LOOK_AHEAD:
            self._seek(number)
        found = self._run_to(number)
        if found is None and self._next > number + 1:  # the container's index led past the frame
            self._seek(0)
            found = self._run_to(number)
        return found

    def _run_to(self, number: int) -> VideoFrame | None:
        for current, frame in self._frames:
            self._next = current + 1
            if current >= number:
                return frame if current == number and not frame.is_corrupt else None
        self._next = -_LOOK_AHEAD  # at the end: the next access has to seek
        return None

    def _seek(self, number: int) -> None:
        assert self.stream.time_base is not None
        seconds = number / float(self._rate())
        offset = (self.stream.start_time or 0) + int(seconds / float(self.stream.time_base))
        self.container.seek(offset, stream=self.stream, backward=True)
        self._frames = self._decode()

    def _decode(self) -> Iterator[tuple[int, VideoFrame]]:
        """Frames from the current position on, each with its number, by its time in the video."""
        start, time_base = self.stream.start_time or 0, self.stream.time_base
        assert time_base is not None
        for frame in self.container.decode(self.stream):
            if frame.pts is None:
                raise OSError(0, "its frames carry no time, so none can be found by its number; convert it to mp4")
            yield round((frame.pts - start) * time_base * self._rate()), frame

    def _rate(self) -> Fraction:
        if rate := self.stream.average_rate:
            return rate
        raise OSError(0, "the video declares no frame rate")
