"""Depth pictures of one 16-bit channel, or of two 8-bit channels as in NYU; and the natural order of file names."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from posebridge.data.frames import UnreadableFrameError, read_image

_MODES = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names of 16-bit grey, by byte order and version
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def read_depth_png(path: Path, unit_m: float) -> np.ndarray:
    """(H, W) float32 metres, 0 where the sensor gave none; ``unit_m`` metres are one step of the picture.

    Raises ``UnreadableFrameError`` for a missing, broken or truncated file, and for one that is not 16-bit grey.
    """
    try:
        with Image.open(path) as file:
            if file.mode not in _MODES:
                raise UnreadableFrameError(path, f"pixels of type {file.mode}; depth is one channel of 16 bits")
            steps = np.asarray(file)
    except UnreadableFrameError:
        raise
    except FileNotFoundError:
        raise UnreadableFrameError(path, "the file is missing") from None
    except Image.UnidentifiedImageError:
        raise UnreadableFrameError(path, "not an image, or damaged from its first bytes on") from None
    except _DECODING_ERRORS as error:
        raise UnreadableFrameError(path, " ".join(str(error).split()) or type(error).__name__) from None
    return steps.astype(np.float32) * np.float32(unit_m)


def read_depth_two_bytes(path: Path, unit_m: float) -> np.ndarray:
    """(H, W) float32 metres from a colour picture whose blue channel counts steps and green one 256 of them.

    Raises ``UnreadableFrameError`` for a missing, broken or truncated file, and for a grey one.
    """
    _, green, blue = np.moveaxis(read_image(path).astype(np.float32), -1, 0)
    if np.array_equal(green, blue):
        raise UnreadableFrameError(path, "a grey picture; depth in two bytes has one in green and one in blue")
    return (blue + 256 * green) * np.float32(unit_m)


def natural_key(name: str) -> list[tuple[int, str]]:
    """A key for sorting names in natural order: ``9.png`` before ``10.png``."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]
