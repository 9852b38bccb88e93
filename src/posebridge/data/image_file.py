"""Image files as arrays: pixels as stored, with the orientation that the file carries."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from posebridge.cameras.pixel_maps import EXIF_ORIENTATIONS, stored_image, upright_image
from posebridge.contracts.image_formats import IMAGE_FORMATS, bits_per_channel, open_image
from posebridge.data.frames import UnreadableFrameError
from posebridge.errors import one_line

_ORIENTED = "it carries an EXIF orientation, so its labels may be of stored or of upright pixels"
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Picture:
    """The first page of an image file, as in ``RawFrame``."""

    image: np.ndarray  # (H, W, 3) uint8 RGB, pixels as stored
    turn: int = 0
    mirror: bool = False

    @property
    def is_upright(self) -> bool:
        """Whether the file carries no orientation."""
        return (self.turn, self.mirror) == (0, False)


def read_picture(path: Path) -> Picture:
    """Decode an image file, pixels as stored: its EXIF orientation is returned beside them.

    Raises ``UnreadableFrameError`` for a missing, broken or truncated file, for a format that is not read, and for more
    than 8 bits a channel.
    """
    with opened_image(path) as file:
        _check_channels(path, file)
        turn, mirror = orientation(file)  # before decoding, as Pillow then forgets that of TIFF
        return Picture(stored_pixels(file.convert("RGB"), file, turn, mirror), turn, mirror)


def further_pages(path: Path) -> dict[str, str]:
    """The pages of a file that are not read, with the reason; nothing for a file of one page or a broken file."""
    try:
        with opened_image(path) as file:
            pages = list(_pages(file))
    except UnreadableFrameError:
        return {}
    if not pages:
        return {}
    name = f"{path} page {pages[0]}" if len(pages) == 1 else f"{path} from page {pages[0]} to {pages[-1]}"
    return {name: "only the first page of a file is read; save each page as a file"}


def _pages(file: ImageFile.ImageFile) -> Iterator[int]:
    """Numbers of the pages after the first, counted from 1, of a file that is not decoded yet."""
    if isinstance(file, PpmImageFile):
        yield from range(2, 2 + _further_netpbm(file))
        return
    size = file.size
    for index in range(1, getattr(file, "n_frames", 1)):
        if file.format == "MPO":  # views of a stereo camera, or smaller previews and gain maps of the first picture
            file.seek(index)
            if file.size != size:
                continue
        yield index + 1


def _further_netpbm(page: PpmImageFile) -> int:
    """How many pictures follow the first of a binary PBM, PGM or PPM file, which Pillow doesn't count."""
    count, stream = 0, page.fp
    while stream is not None and (size := _raster_bytes(page)) is not None:
        stream.seek(page.tile[0].offset + size)
        try:
            page = PpmImageFile(stream)
        except (SyntaxError, ValueError):  # the end, or bytes that are no header
            break
        count += 1
    return count


def _raster_bytes(page: PpmImageFile) -> int | None:
    """The size of the pixels in the file; None for formats of which a file holds one picture, such as plain text."""
    channels = {"L": 1, "I": 1, "RGB": 3}.get(page.mode)
    if page.tile[0].codec_name not in ("raw", "ppm") or (channels is None and page.mode != "1"):
        return None
    width, height = page.size
    if channels is None:
        return (width + 7) // 8 * height
    two_bytes = page.mode == "I" or (declared_maximum(page) or 0) > 255
    return width * height * channels * (2 if two_bytes else 1)


def _check_channels(path: Path, file: ImageFile.ImageFile) -> None:
    if file.mode.startswith("I") or bits_per_channel(file) > 8:  # Pillow would drop the lower bits
        reason = "more than 8 bits a channel, and the range of its values is not known; save it as an 8-bit image"
        raise UnreadableFrameError(path, reason)
    if file.mode not in _MODES:
        raise UnreadableFrameError(path, f"pixels of type {file.mode}; give 8-bit colour or grey images")


def read_image(path: Path) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB of a release, whose files carry no orientation.

    Raises ``UnreadableFrameError`` as ``read_picture`` does, and for a file with an orientation: its labels may be of
    stored or of upright pixels.
    """
    picture = read_picture(path)
    if not picture.is_upright:
        raise UnreadableFrameError(path, f"{_ORIENTED}: store its pixels upright, without an orientation")
    return picture.image


def read_annotated(path: Path, width_px: int, height_px: int) -> Picture:
    """The picture whose pixels the annotations of an image of that size refer to.

    Where only the stored or only the upright picture has that size, the annotations refer to it. An upright picture is
    returned without an orientation. Raises ``UnreadableFrameError`` as ``read_picture`` does, and for pictures of which
    neither has that size, or both.
    """
    picture = read_picture(path)
    upright = Picture(upright_image(picture.image, picture.turn, picture.mirror))
    fitting = [choice for choice in (picture, upright) if choice.image.shape[:2] == (height_px, width_px)]
    if not fitting:
        sizes = dict.fromkeys(f"{choice.image.shape[1]}x{choice.image.shape[0]}" for choice in (picture, upright))
        sizes_text = " as stored and ".join(sizes) + (" upright" if len(sizes) > 1 else "")
        raise UnreadableFrameError(path, f"it is {sizes_text}, but annotated as {width_px}x{height_px}")
    if len(fitting) > 1 and not picture.is_upright:
        raise UnreadableFrameError(path, f"{_ORIENTED}, which have the same size: store it without an orientation")
    return fitting[0]


@contextmanager
def opened_image(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image file, open. Raises ``UnreadableFrameError`` with a reason of one line for all that Pillow raises."""
    try:
        with warnings.catch_warnings():
            # Of damaged metadata, and of pictures that are large, but not refused.
            warnings.simplefilter("ignore")
            with open_image(path) as file:
                yield file
    except UnreadableFrameError:
        raise
    except FileNotFoundError:
        raise UnreadableFrameError(path, "the file is missing") from None
    except Image.UnidentifiedImageError:
        reason = f"not an image of {', '.join(IMAGE_FORMATS)}, or damaged from its first bytes on: convert it to PNG"
        raise UnreadableFrameError(path, reason) from None
    except Image.DecompressionBombError:
        raise UnreadableFrameError(path, "more than 178 million pixels; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise errors of many types for damaged files
        raise UnreadableFrameError(path, one_line(error)) from None


def orientation(file: ImageFile.ImageFile) -> tuple[int, bool]:
    """(turn, mirror) of an opened file; (0, False) where it carries no orientation, or damaged EXIF data."""
    try:
        value = file.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # as in ``opened_image``; the picture itself may be intact
        value = None
    return EXIF_ORIENTATIONS.get(value, (0, False)) if isinstance(value, int) else (0, False)


def stored_pixels(decoded: Image.Image, file: ImageFile.ImageFile, turn: int, mirror: bool) -> np.ndarray:
    """The array of a decoded picture, pixels as stored: Pillow itself turns TIFF upright."""
    pixels = np.asarray(decoded)
    return stored_image(pixels, turn, mirror) if isinstance(file, TiffImageFile) else pixels


def declared_maximum(file: ImageFile.ImageFile) -> int | None:
    """The maximum that a PPM or PGM declares, from which Pillow scales its values; None for all other files.

    Call it before the file is decoded.
    """
    if file.format != "PPM" or not file.tile:
        return None
    arguments = file.tile[0].args  # (layout, maximum), or the layout alone where nothing is scaled
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else None
