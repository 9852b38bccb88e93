"""Small videos of many codecs and containers, and what FFmpeg decodes of them from their start."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48
_X264 = {"bf": "3", "g": "20", "crf": "30", "preset": "veryfast"}
OPEN_GOPS = {**_X264, "x264-params": "open-gop=1:keyint=12:min-keyint=5:scenecut=0"}
# file -> encoder, its options; B-frames, open groups of pictures and intra refresh where the encoder has them
ENCODINGS: dict[str, tuple[str, dict[str, str]]] = {
    "h264.mp4": ("libx264", _X264),
    "h264.avi": ("libx264", _X264),  # avi has no times of presentation
    "h264.h264": ("libx264", _X264),  # no times at all
    "refresh.mp4": ("libx264", {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=12"}),
    "open.mkv": ("libx264", OPEN_GOPS),
    "open.ts": ("libx264", OPEN_GOPS),
    "interlaced.mts": ("libx264", {**_X264, "x264-params": "interlaced=1"}),
    "hevc.mp4": ("libx265", {"preset": "veryfast", "x265-params": "open-gop=1:keyint=12:min-keyint=5:log-level=none"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "mpeg4.mp4": ("mpeg4", {"bf": "2", "g": "12"}),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2", "g": "12"}),
    "mjpeg.mov": ("mjpeg", {}),
    "vp8.webm": ("libvpx", {"g": "12", "deadline": "realtime"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "lag-in-frames": "10", "auto-alt-ref": "1", "cpu-used": "8"}),
    "wmv.wmv": ("wmv2", {"g": "12"}),
    "flash.flv": ("flv", {"g": "12"}),
}


def picture(number: int) -> np.ndarray:
    """(H, W, 3) uint8: a moving texture and a block whose grey value is 30 + 3 * ``number``."""
    texture = np.random.default_rng(0).integers(60, 120, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    image = np.roll(texture.repeat(8, 0).repeat(8, 1), 3 * number, axis=1)
    image[16:32, 16:48] = 30 + 3 * number
    return image


def write_encoded(
    path: Path,
    codec: str,
    options: dict[str, str],
    frames: int = 40,
    times_ms: list[int] | None = None,
    format_name: str | None = None,
    container_options: dict[str, str] | None = None,
) -> None:
    """A video of ``picture``s, shown at ``times_ms`` where they are given."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    with av.open(str(path), "w", format=format_name, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.bit_rate = WIDTH, HEIGHT, 1_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decoded_in_order(path: Path) -> list[np.ndarray]:
    """Every frame (H, W, 3), as FFmpeg decodes the file from its start."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def trim_by_edit_list(path: Path, first: int, frames: int) -> None:
    """Show ``frames`` frames of an mp4 from ``first`` on, by changing its edit list (ISO 14496-12)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12
    _, start = struct.unpack_from(">Ii", data, place)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        step = round(1 / (25 * stream.time_base))
    struct.pack_into(">Ii", data, place, 40 * frames, start + first * step)
    path.write_bytes(data)
