"""Video files: which files are videos, how they are opened, and what they declare."""

import gc
import os
import struct
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.container.core import Flags
from av.video.stream import VideoStream

from posebridge.errors import InputError
from posebridge.regular_files import absence

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc", ".m1v",
    ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv",
    ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
_EBML_SEGMENT = 0x18538067
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEADER_BYTES = 1 << 16

# Decoders and frames that the parent has not collected yet must never be collected in a fork, as in a loader's worker:
# freeing them waits for threads that only the parent has.
os.register_at_fork(after_in_child=gc.freeze)


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """The open file and its first video stream. The caller closes the file.

    Metadata tags in any encoding are accepted. Raises ``InputError`` for a file that is missing, no video, or broken
    from its start.
    """
    if not path.is_file():
        raise InputError(f"{path}: {absence(path)}")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path}: not a video that can be opened: {reason_of(error)}") from None
    streams = container.streams.video
    if not streams or not streams[0].codec_context:
        container.close()
        lacks = "of a known codec, or is damaged" if streams else "stream, or is cut short"
        raise InputError(f"{path}: the file holds no video {lacks}")
    container.flags &= ~Flags.gen_pts.value  # times of presentation that the file lacks are guesses
    return container, streams[0]


def reason_of(error: Exception) -> str:
    """FFmpeg's words for an error, in one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def cut_short(path: Path, container: InputContainer, stream: VideoStream, packets: int) -> str | None:
    """How the file is known to end early, else None. ``packets``: how many of the stream the file holds.

    The file's own declaration decides: places of the frames (mp4, mov), a number of bytes (mkv, webm, wmv, flv) or of
    frames (avi). Other containers declare nothing. Frames that an edit list leaves out are not missing.
    """
    size = path.stat().st_size
    formats = set(container.format.name.split(","))
    if "mov" in formats:
        declared = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    elif "avi" in formats:
        frames = stream.frames
        return f"the file is cut short: {frames} frames are declared" if packets < frames else None
    else:
        declared = _declared_bytes(path, formats)
    return f"the file is cut short: {size} of at least {declared} bytes are there" if size < declared else None


def _declared_bytes(path: Path, formats: set[str]) -> int:
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if "matroska" in formats:
        return _end_of_segment(header)
    if "flv" in formats:
        return _flv_bytes(header)
    return _asf_bytes(header) if "asf" in formats else 0


def _end_of_segment(header: bytes) -> int:
    """Where Matroska's segment ends, in bytes; 0 where its size is unknown, as in live recordings (RFC 8794)."""
    place = 0
    while place + 12 <= len(header):
        length = 9 - header[place].bit_length()
        identifier = int.from_bytes(header[place : place + length])
        place += length
        length = 9 - header[place].bit_length()
        mask = (1 << 7 * length) - 1
        size = int.from_bytes(header[place : place + length]) & mask
        place += length
        if identifier == _EBML_SEGMENT:
            return 0 if size == mask else place + size
        place += size
    return 0


def _asf_bytes(header: bytes) -> int:
    """The size in ASF's file properties; 0 for a broadcast, which has none."""
    start = header.find(_ASF_FILE_PROPERTIES)
    properties = header[start : start + 92]
    if start < 0 or len(properties) < 92 or properties[88] & 1:
        return 0
    return int.from_bytes(properties[40:48], "little")


def _flv_bytes(header: bytes) -> int:
    """The number ``filesize`` in FLV's onMetaData; 0 where it is absent, or was left open by a live recording."""
    value = header.partition(b"filesize\x00")[2][:8]
    return int(max(0.0, struct.unpack(">d", value)[0])) if len(value) == 8 else 0
