"""Uploads: limited in size and time, stored under names of our own, and known by their content."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
from PIL import Image
from starlette.requests import ClientDisconnect, Request

from posebridge.contracts.image_formats import open_image
from posebridge.data.datasets.video_file import open_video
from posebridge.errors import InputError

MediaKind = Literal["image", "video"]

_IMAGE_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif", "PPM": ".ppm"}
# First bytes of videos and where they lie. FFmpeg alone would also open playlists, which name other files.
_VIDEO_MARKS = (
    (4, b"ftyp", ".mp4"),
    (4, b"moov", ".mov"),
    (4, b"mdat", ".mov"),
    (4, b"wide", ".mov"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),  # WebM as well
    (8, b"AVI ", ".avi"),
    (0, bytes.fromhex("3026b2758e66cf11"), ".wmv"),
    (0, b"FLV\x01", ".flv"),
    (0, b"OggS", ".ogv"),
    (0, b"YUV4MPEG2 ", ".y4m"),
    (0, b"\x00\x00\x01\xba", ".mpg"),
)
_STILL_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif")  # pictures in the container of MP4
_TS_PACKET_BYTES = 188  # of MPEG transport streams, which begin with 0x47
_MAX_IMAGE_MPX = 64  # 192 MB as RGB
_MAX_VIDEO_MPX = 36  # 8K


class RefusedError(InputError):
    """A request that is answered by a status of its own."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class UploadLimits:
    """How large an upload may be, and how long it may take."""

    mb: int
    seconds: int

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return self.mb * 1_000_000


async def receive_file(request: Request, path: Path, limits: UploadLimits) -> int:
    """Write the body of a request into a new file; returns its bytes. Nothing stays on disk after a refusal.

    Raises ``RefusedError`` for an upload that is too large, too slow, empty, or broken off.
    """
    try:
        async with await anyio.open_file(path, "xb") as file:
            return await _receive(request, limits, file.write)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _receive(request: Request, limits: UploadLimits, write: Callable[[bytes], Awaitable[object]]) -> int:
    too_large = RefusedError(f"the upload is larger than {limits.mb} MB: give a smaller or shorter one", 413)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > limits.bytes:
        raise too_large
    received = 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received > limits.bytes:
                    raise too_large
                await write(chunk)
    except TimeoutError:
        raise RefusedError(f"the upload took longer than {limits.seconds} s", 408) from None
    except ClientDisconnect:
        raise RefusedError("the upload was broken off", 400) from None
    except OSError as error:
        raise RefusedError(f"the upload can't be stored: {error.strerror}", 507) from error
    if received == 0:
        raise RefusedError("the file is empty", 400)
    return received


@dataclass(frozen=True)
class Media:
    """What an uploaded file holds, by its content."""

    kind: MediaKind
    suffix: str  # with which readers recognise it


def recognise(path: Path) -> Media:
    """What a file holds. Runs nothing of it, and opens videos only by their known first bytes.

    Raises ``RefusedError`` for anything but a picture or a video, and for one of too many pixels.
    """
    with path.open("rb") as file:
        head = file.read(2 * _TS_PACKET_BYTES + 1)
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        raise RefusedError("pictures of type HEIC and AVIF can't be read: save it as JPEG", 415)
    suffix = _video_suffix(head)
    if suffix is not None:
        _check_video(path)
        return Media("video", suffix)
    try:
        with open_image(path) as image:
            _check_pixels(image.width, image.height, _MAX_IMAGE_MPX)
            return Media("image", _IMAGE_SUFFIXES[image.format or ""])
    except RefusedError:
        raise
    except Image.DecompressionBombError:
        raise RefusedError(f"the picture has more than {_MAX_IMAGE_MPX} million pixels: make it smaller", 413) from None
    except Exception:  # Pillow's parsers raise errors of many types
        formats = ", ".join(sorted(_IMAGE_SUFFIXES))
        raise RefusedError(f"neither a picture ({formats}) nor a video that can be read", 415) from None


def _video_suffix(head: bytes) -> str | None:
    for offset, mark, suffix in _VIDEO_MARKS:
        if head[offset : offset + len(mark)] == mark:
            return suffix
    is_transport_stream = len(head) > 2 * _TS_PACKET_BYTES and head[::_TS_PACKET_BYTES] == b"\x47" * 3
    return ".ts" if is_transport_stream else None


def _check_video(path: Path) -> None:
    try:
        container, stream = open_video(path)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise RefusedError(f"the video can't be read: {reason}", 415) from None
    with container:
        _check_pixels(stream.width, stream.height, _MAX_VIDEO_MPX)


def _check_pixels(width: int, height: int, most_mpx: int) -> None:
    if width * height > most_mpx * 1_000_000:
        raise RefusedError(f"{width}x{height} pixels are more than {most_mpx} million: make it smaller", 413)
