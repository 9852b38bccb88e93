"""Pictures as data URIs, which a page can hold as text."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

_LONGEST_SIDE_PX = 400  # larger photographs are shrunk: the page stays light


def jpeg_uri(image: np.ndarray) -> str:
    """A photograph (H, W, 3) uint8 as a JPEG of high quality."""
    return _uri(image, _LONGEST_SIDE_PX, "jpeg", quality=93, subsampling=0)


def light_jpeg_uri(image: np.ndarray, longest_px: int = _LONGEST_SIDE_PX) -> str:
    """A photograph (H, W, 3) uint8 as a JPEG of half that size."""
    return _uri(image, longest_px, "jpeg", quality=85, subsampling=2)


def png_uri(image: np.ndarray, longest_px: int = _LONGEST_SIDE_PX) -> str:
    """A map (H, W, 3) or (H, W, 4) uint8 as a PNG, whose colours are exact unless it is shrunk to ``longest_px``."""
    return _uri(image, longest_px, "png", optimize=True)


def _uri(image: np.ndarray, longest_px: int, kind: str, **options: Any) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((longest_px, longest_px))
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
