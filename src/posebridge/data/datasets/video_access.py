"""Single frames of videos by their number, for readers whose labels belong to frames of a video."""

import os
from collections import OrderedDict
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from posebridge.data.datasets.video_decoding import decode, demux, rgb_pixels
from posebridge.data.datasets.video_file import open_video, reason_of
from posebridge.data.datasets.video_index import VideoIndex, index_video
from posebridge.data.datasets.video_orientation import orientation_of
from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import InputError

_LOOK_AHEAD = 24  # frames up to which decoding forward is cheaper than seeking
_STARTS = 3  # key frames tried for a frame: after some, decoding is exact only some frames later
_KEPT_INDICES = 8192
_ORIENTED = (
    "the video carries an orientation, so its labels may be of stored or of upright pixels: store them upright "
    "(ffmpeg -i IN OUT does)"
)
_LOSE_TIMES = ("mpeg",)  # containers that after a seek give packets other times
# Videos of the parent process. Closing them in a fork would wait for decoding threads that only the parent has.
_videos_of_parent: list["OrderedDict[Path, _OpenVideo]"] = []


class VideoAccess:
    """Frames by number. The last few videos stay open at their last position.

    Frames in rising order are decoded once. Others cost decoding from the key frame before them. A video's packets are
    read once for its index. Every process opens its own videos, so that a reader can be passed to worker processes.
    """

    def __init__(self, keep_open: int = 4):
        self.keep_open = keep_open
        self._videos: OrderedDict[Path, _OpenVideo] = OrderedDict()
        self._indices: OrderedDict[Path, VideoIndex] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, int]:
        return {"keep_open": self.keep_open}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(state["keep_open"])

    def read(self, path: Path, number: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of frame ``number`` from 0.

        Raises ``UnreadableFrameError`` where there is none, and for a video with an orientation.
        """
        if self._process != os.getpid():  # a fork shares the parent's file positions
            _videos_of_parent.append(self._videos)
            self._videos, self._process = OrderedDict(), os.getpid()
        try:
            if path not in self._videos:
                self._videos[path] = _OpenVideo(path, self.index(path))
            self._videos.move_to_end(path)
            frame = self._videos[path].frame(number)
        except (av.error.FFmpegError, OSError) as error:
            self._close(path)
            raise UnreadableFrameError(f"{path} frame {number}", reason_of(error)) from None
        except InputError as error:
            raise UnreadableFrameError(f"{path} frame {number}", str(error).removeprefix(f"{path}: ")) from None
        if len(self._videos) > self.keep_open:
            self._close(next(iter(self._videos)))
        if frame is None:
            raise UnreadableFrameError(f"{path} frame {number}", self._absence(path, number))
        if orientation_of(frame) != (0, False):
            raise UnreadableFrameError(f"{path} frame {number}", _ORIENTED)
        return rgb_pixels(frame)

    def index(self, path: Path) -> VideoIndex:
        """Number, places and times of the frames. Raises ``InputError`` for a file that can't be opened."""
        if path not in self._indices:
            self._indices[path] = index_video(path)
        self._indices.move_to_end(path)
        if len(self._indices) > _KEPT_INDICES:
            self._indices.popitem(last=False)
        return self._indices[path]

    def _absence(self, path: Path, number: int) -> str:
        index = self.index(path)
        if 0 <= number < index.count:
            return "the frame is damaged"
        return index.packets.cut_short or f"the video has no such frame, but {index.count}"

    def _close(self, path: Path) -> None:
        if video := self._videos.pop(path, None):
            video.container.close()


class _OpenVideo:
    """One video, decoded from its last position."""

    def __init__(self, path: Path, index: VideoIndex):
        self.path = path
        self.index = index
        times = index.packets.times
        self._place_of = {} if times is None else {int(time): place for place, time in enumerate(times)}
        self._not_starts: set[int] = set()  # packets that the file calls key frames, and the decoder doesn't
        self._open()

    def __del__(self) -> None:
        # Not left to the garbage collector, which could run in a fork and wait there as above.
        if hasattr(self, "container"):
            self.container.close()

    def frame(self, number: int) -> VideoFrame | None:
        """The frame, None where the video has none of this number, or it is damaged."""
        if not 0 <= number < self.index.count:
            return None
        starts = self.index.starts_for(number)
        near = self._next <= number < self._next + _LOOK_AHEAD
        decoding = starts and starts[0][1] < self._next <= number
        if (near or decoding) and (found := self._run_to(number)):
            return found
        tries = 0
        for start, first in starts:
            if tries == _STARTS:
                break
            self._seek(start, first)
            if found := self._run_to(number):
                return found
            tries += start not in self._not_starts
        return None

    def _run_to(self, number: int) -> VideoFrame | None:
        """Decode up to the frame. None where decoding gets past it, or isn't exact from its start."""
        for place, frame in self._frames:
            if isinstance(frame, str):
                continue
            if place == self._start and place and not frame.key_frame:
                self._not_starts.add(place)
                break
            current = int(self.index.numbers[place])
            if current < self._next:
                continue  # it needs frames from before the start
            self._next = current + 1
            if current >= number:
                return frame if current == number else None
        self._next = self.index.count  # whatever comes next has to seek
        return None

    def _seek(self, start: int, first: int) -> None:
        """Go on from packet ``start``, whose frame is number ``first``; read up to it where a seek leads elsewhere."""
        packets = self._landing(start)
        if packets is None:
            self.container.close()
            self._open()
            packets = islice(demux(self.container, self.stream), start, None)
        self._frames = decode(packets, start)
        self._start, self._next = start, first

    def _landing(self, start: int) -> Iterable[Packet | str] | None:
        """Seek to packet ``start``: the packets from there on, None where the container leads elsewhere."""
        table = self.index.packets
        if table.seek_times is None or self.container.format.name in _LOSE_TIMES:
            return None
        self.container.seek(int(table.seek_times[start]), stream=self.stream)
        packets = demux(self.container, self.stream)
        first = next(packets)
        place = self._place(first)
        if place is None or place > start:
            return None
        following = chain([first], packets)
        for expected in range(place, start):
            if self._place(next(following)) != expected:
                return None
        return following

    def _place(self, packet: Packet | str) -> int | None:
        """A packet's place in the file, by its time stamp."""
        if isinstance(packet, str):
            return None
        return self._place_of.get(getattr(packet, self.index.packets.time_kind))

    def _open(self) -> None:
        self.container, self.stream = open_video(self.path)
        self._frames = decode(demux(self.container, self.stream))
        self._start, self._next = 0, 0
