"""Packets and frames of a video stream in their order; one that is broken does not end it."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from posebridge.data.datasets.video_file import open_video, reason_of

DAMAGED = "the frame's data is damaged"


def decode_file(path: Path, last: Collection[int]) -> Iterator[tuple[int, VideoFrame | str]]:
    """``decode`` of a whole file in several threads. ``last``: places of the last packets, one of which has a frame.

    Where that frame is broken, decoding in threads loses others before it: the file is then decoded again without.
    Raises ``InputError`` for a file that can't be opened.
    """
    count, is_complete = 0, False
    for threads in ("AUTO", "SLICE"):
        container, stream = open_video(path)
        stream.thread_type = threads
        with container:
            for place, frame in islice(decode(demux(container, stream)), count, None):
                yield place, frame
                count += 1
                is_complete = is_complete or (place in last and not isinstance(frame, str))
        if is_complete:
            return


def demux(container: InputContainer, stream: VideoStream) -> Iterator[Packet | str]:
    """Packets with data from the container's position on, then one without; or why the file can't be read further."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            yield f"the file can't be read from here on: {reason_of(error)}"
            yield _end(stream)
            return
        if packet is None:
            return
        # An empty packet with a time stands for a frame that was dropped while recording; without, for the end.
        if packet.size or (packet.pts is None and packet.dts is None):
            yield packet


def _end(stream: VideoStream) -> Packet:
    packet = Packet()
    packet.stream = stream
    return packet


def decode(packets: Iterable[Packet | str], at: int = 0) -> Iterator[tuple[int, VideoFrame | str]]:
    """Frames with the place of their packet in the stream, or the reason for one that can't be decoded.

    ``at``: place of the first packet.
    """
    for place, packet in enumerate(packets, start=at):
        if isinstance(packet, str):
            yield place, packet
            continue
        packet.pts = packet.dts = place  # the decoder hands it on to the frame
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            yield place, reason_of(error)
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            assert frame.pts is not None
            yield frame.pts, DAMAGED if frame.is_corrupt else frame


def rgb_pixels(frame: VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
    """The frame as RGB. One thread converts a frame sooner than several do."""
    return frame.to_ndarray(format="rgb24", threads=1)
