"""Depth pictures of one 16-bit channel, or of two 8-bit channels as in NYU."""

from pathlib import Path

import numpy as np
from PIL.ImageFile import ImageFile

from posebridge.data.frames import UnreadableFrameError
from posebridge.data.image_file import declared_maximum, opened_image, orientation, read_image, stored_pixels

_MODES = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names of 16-bit grey, by byte order and version
_FULL = 65535  # to which Pillow scales PGM


def read_depth_png(path: Path, unit_m: float) -> np.ndarray:
    """(H, W) float32 metres, 0 where the sensor gave none; ``unit_m`` metres are one step of the picture.

    Raises ``UnreadableFrameError`` for a missing, broken or truncated file, and for one that is not 16-bit grey.
    """
    with opened_image(path) as file:
        if file.mode not in _MODES:
            raise UnreadableFrameError(path, f"pixels of type {file.mode}; depth is one channel of 16 bits")
        return _steps(file).astype(np.float32) * np.float32(unit_m)


def _steps(file: ImageFile) -> np.ndarray:
    """The numbers (H, W) in the file, whatever maximum it declares."""
    maximum = declared_maximum(file)
    pixels = stored_pixels(file, file, *orientation(file))
    return pixels if maximum is None else np.round(pixels * (maximum / _FULL))


def read_depth_two_bytes(path: Path, unit_m: float) -> np.ndarray:
    """(H, W) float32 metres from a colour picture whose blue channel counts steps and green one 256 of them.

    Raises ``UnreadableFrameError`` for a missing, broken or truncated file, for a grey one, and for one whose channels
    are no bytes.
    """
    with opened_image(path) as file:
        maximum = declared_maximum(file)
    if maximum not in (None, 255):
        raise UnreadableFrameError(path, f"its largest value is {maximum}; depth in two bytes has 255")
    _, green, blue = np.moveaxis(read_image(path).astype(np.float32), -1, 0)
    if np.array_equal(green, blue):
        raise UnreadableFrameError(path, "a grey picture; depth in two bytes has one in green and one in blue")
    return (blue + 256 * green) * np.float32(unit_m)
