"""Numbers of a video's frames: their place in the order in which a decoder returns them, from 0.

Time stamps sort frames, and no number is computed from a rate. A damaged frame keeps its number.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from posebridge.data.datasets.video_decoding import decode_file, demux
from posebridge.data.datasets.video_file import cut_short, open_video

# Codecs of which every packet holds one frame. VP8 has packets that are never shown, so it isn't among them.
# fmt: off
_ONE_FRAME_A_PACKET = frozenset({
    "av1", "dnxhd", "ffv1", "flv1", "h263", "h264", "hevc", "huffyuv", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4",
    "msmpeg4v2", "msmpeg4v3", "png", "prores", "rawvideo", "utvideo", "vp9", "wmv1", "wmv2",
})
# fmt: on
_PROGRESSIVE = (0, 1)  # FFmpeg's field orders unknown and progressive; a frame of two fields may be two packets
_NOT_CODED_BYTES = 8  # at most, of MPEG-4's placeholder for a dropped frame


@dataclass(frozen=True)
class PacketTable:
    """The P packets of a video stream, in the order of the file."""

    times: np.ndarray | None  # (P,) int64 different time stamps; None: the file has none
    time_kind: Literal["pts", "dts"]  # times of presentation, or of decoding where those are not in the file
    seek_times: np.ndarray | None  # (P,) int64 time stamps that lead a seek to a packet or before it
    time_base: float  # seconds a step of time stamps
    is_key: np.ndarray  # (P,) bool: decoding can begin here
    numbers: np.ndarray | None  # (P,) int64 of the frames, -1 for none; None: only decoding shows them
    last: frozenset[int]  # the last packets, one of which has a frame
    cut_short: str | None  # how the file is known to end early


@dataclass(frozen=True)
class VideoIndex:
    """Which packet of a video holds which frame."""

    packets: PacketTable
    numbers: np.ndarray  # (P,) int64 of the frames, -1 for packets without one
    count: int  # of frames, damaged ones included
    starts: tuple[tuple[int, int], ...]  # packets where decoding can begin, and their first frames; both rise

    def starts_for(self, number: int) -> tuple[tuple[int, int], ...]:
        """Packets from which the frame can be decoded, and their first frames; the nearest first."""
        before = bisect_right(self.starts, number, key=itemgetter(1))
        return self.starts[:before][::-1]

    def times_s(self) -> np.ndarray | None:
        """(count,) seconds from the first frame to each; NaN for damaged ones; None where the file has no times."""
        shown = self.numbers >= 0
        if self.packets.times is None or not shown.any():
            return None
        times = np.full(self.count, np.nan)
        # Sorted, as frames take over times of decoding in the order in which they are shown.
        times[np.sort(self.numbers[shown])] = np.sort(self.packets.times[shown])
        return (times - np.nanmin(times)) * self.packets.time_base


def read_packets(path: Path) -> PacketTable:
    """The packets of a video, without decoding. An error ends the table, as it ends decoding.

    Raises ``InputError`` for a file that can't be opened.
    """
    container, stream = open_video(path)
    with container:
        rows = [
            (packet.pts, packet.dts, packet.size, packet.is_keyframe, packet.is_discard)
            for packet in demux(container, stream)
            if isinstance(packet, Packet) and packet.size
        ]
        pts, dts, sizes, keys, discarded = zip(*rows, strict=True) if rows else ((),) * 5
        is_key, shown, decoding = np.array(keys, dtype=bool), _times(pts), _times(dts)
        # Without reordering, frames are shown in the order of decoding.
        sorting = shown if shown is not None or stream.codec_context.reorder_depth else decoding
        is_shown = ~np.array(discarded, dtype=bool)
        fields = 1 if stream.codec_context.field_order in _PROGRESSIVE else 2
        numbers = None
        if sorting is not None and _one_frame_a_packet(stream, sizes) and is_key[0] and sorting[0] == sorting.min():
            numbers = _ranks(sorting, is_shown)
        return PacketTable(
            times=decoding if shown is None else shown,
            time_kind="dts" if shown is None else "pts",
            seek_times=_earlier(shown, decoding),
            time_base=float(stream.time_base or 0),
            is_key=is_key,
            numbers=numbers,
            last=frozenset(np.flatnonzero(is_shown)[-fields:].tolist()),
            cut_short=cut_short(path, container, stream, len(rows)),
        )


def index_video(path: Path) -> VideoIndex:
    """The index of a video, from its packets alone where they show the order, else by decoding it once.

    Raises ``InputError`` for a file that can't be opened.
    """
    packets = read_packets(path)
    if packets.numbers is None:
        numbers, count = _decoded_numbers(path, packets)
    else:
        numbers, count = packets.numbers, int(packets.numbers.max(initial=-1)) + 1
    starts = [(0, 0)]  # also where an edit list leaves the first packet out
    for place in np.flatnonzero(packets.is_key & (numbers >= 0)).tolist():
        if place and numbers[place] >= starts[-1][1]:
            starts.append((place, int(numbers[place])))
    return VideoIndex(packets, numbers, count, tuple(starts))


def numbered(
    decoded: Iterator[tuple[int, VideoFrame | str]], numbers: np.ndarray | None
) -> Iterator[tuple[int | None, VideoFrame | str]]:
    """Frames with their numbers instead of their packets' places; reasons without one where it isn't known.

    ``numbers``: of a ``PacketTable``. Where they are None, everything is counted from the first frame of the file.
    """
    for count, (place, frame) in enumerate(decoded):
        if numbers is None:
            yield count, frame
        elif isinstance(frame, str):
            yield None, frame  # decoding in several threads reports errors late
        else:
            yield int(numbers[place]), frame


def _times(stamps: tuple[int | None, ...]) -> np.ndarray | None:
    """The time stamps of packets (P,), None where one has none or two share one."""
    known = [stamp for stamp in stamps if stamp is not None]
    return np.array(known, dtype=np.int64) if known and len(set(known)) == len(stamps) else None


def _earlier(shown: np.ndarray | None, decoding: np.ndarray | None) -> np.ndarray | None:
    if shown is None or decoding is None:
        return decoding if shown is None else shown
    return np.minimum(shown, decoding)


def _one_frame_a_packet(stream: VideoStream, sizes: tuple[int, ...]) -> bool:
    codec = stream.codec_context.codec.canonical_name
    if codec == "mpeg4" and min(sizes) <= _NOT_CODED_BYTES:
        return False
    return codec in _ONE_FRAME_A_PACKET and stream.codec_context.field_order in _PROGRESSIVE


def _ranks(times: np.ndarray, shown: np.ndarray) -> np.ndarray:
    numbers = np.full(len(times), -1, dtype=np.int64)
    places = np.flatnonzero(shown)
    numbers[places[np.argsort(times[places])]] = np.arange(len(places))
    return numbers


def _decoded_numbers(path: Path, packets: PacketTable) -> tuple[np.ndarray, int]:
    numbers, count = np.full(len(packets.is_key), -1, dtype=np.int64), 0
    for place, frame in decode_file(path, packets.last):
        if isinstance(frame, VideoFrame):
            numbers[place] = count
        count += 1
    return numbers, count
