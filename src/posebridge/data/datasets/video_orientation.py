"""The display matrix of videos: how stored pixels are brought upright."""

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from posebridge.data.datasets.video_decoding import decode_file
from posebridge.errors import InputError


def orientation_of(frame: VideoFrame) -> tuple[int, bool]:
    """Quarter turns clockwise, 0 to 3, that bring the stored pixels upright, and whether they are mirrored before.

    The mirroring is left-right. Other angles count as the nearest quarter turn. (0, False) without a display matrix.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()  # x' = a x + c y, y' = b x + d y
    mirror = a * d < b * c
    if mirror:
        a, b = -a, -b
    return round(math.atan2(b, a) / (math.pi / 2)) % 4, mirror


def check_upright(calibrated: Iterable[Path]) -> None:
    """Raise ``InputError`` for a calibrated video that carries an orientation: the calibration may be of either pixels.

    Players and OpenCV show such pixels turned, FFmpeg decodes them as stored.
    """
    for path in calibrated:
        for _, frame in islice(decode_file(path, ()), 1):
            if isinstance(frame, VideoFrame) and orientation_of(frame) != (0, False):
                raise InputError(
                    f"{path}: the file carries an orientation, and its calibration may be of stored or of upright "
                    "pixels; store them upright (ffmpeg -i IN OUT does) and calibrate these"
                )
