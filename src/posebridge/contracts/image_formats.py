"""The formats of image files that are read. No other decoder of Pillow is ever started."""

import re
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

_FORMAT_OF_SUFFIX = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
IMAGE_SUFFIXES = frozenset(_FORMAT_OF_SUFFIX)
IMAGE_FORMATS = tuple(sorted({*_FORMAT_OF_SUFFIX.values()}))

_DEEP_LAYOUT = re.compile(r";16[BLN]$")  # ends Pillow's names of layouts with 16 bits a channel


def open_image(file: Path | BinaryIO) -> ImageFile.ImageFile:
    """An image of one of ``IMAGE_FORMATS``, by its content; its suffix doesn't matter.

    Raises ``Image.UnidentifiedImageError`` for other content, ``OSError`` for a path without a regular file (which
    might block), and what Pillow raises for damaged files.
    """
    if isinstance(file, Path) and not file.is_file():
        raise OSError("not a regular file") if file.exists() else FileNotFoundError(file)
    return Image.open(file, formats=IMAGE_FORMATS)


def bits_per_channel(file: ImageFile.ImageFile) -> int:
    """Bits of each channel of an opened file, before it is decoded. Pillow drops the lower ones of 16-bit colour."""
    if isinstance(file, TiffImageFile):
        return max(file.tag_v2.get(BITSPERSAMPLE, (8,)))
    layouts = [tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in file.tile]
    return 16 if any(_DEEP_LAYOUT.search(str(layout)) for layout in layouts) else 8
