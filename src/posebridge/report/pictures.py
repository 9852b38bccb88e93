"""Pictures as text that a page can hold."""

import base64
import io

import numpy as np
from PIL import Image

_LONGEST_SIDE_PX = 400  # larger photographs are shrunk: the page stays light
_LONGEST_MAP_PX = 128


def jpeg_uri(image: np.ndarray) -> str:
    """A photograph to look at closely, (H, W, 3) uint8."""
    return _jpeg_uri(image, _LONGEST_SIDE_PX, quality=93, subsampling=0)


def light_jpeg_uri(image: np.ndarray, longest_px: int = _LONGEST_SIDE_PX) -> str:
    """One of many photographs, (H, W, 3) or grey (H, W), uint8, at half the weight."""
    return _jpeg_uri(image, longest_px, quality=85, subsampling=2)


def _jpeg_uri(image: np.ndarray, longest_px: int, **options: int) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((longest_px, longest_px))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", **options)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def png_uri(image: np.ndarray) -> str:
    """A map whose colours carry meaning, (H, W, 3), (H, W, 4) or grey (H, W), uint8: its colours stay what they are."""
    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_MAP_PX, _LONGEST_MAP_PX))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
