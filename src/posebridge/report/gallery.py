"""Frames with skeletons drawn over them, for the report."""

import base64
import io
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from PIL import Image

from posebridge.contracts.record import GalleryFrame
from posebridge.report.figures import family
from posebridge.report.svg import Canvas, Point

_LONGEST_SIDE_PX = 400  # larger photographs are shrunk: the page stays light


def overlay(frame: GalleryFrame, joint_names: tuple[str, ...], bones: tuple[tuple[int, int], ...]) -> Markup:
    """The frame with the predicted skeleton in colours over the true one in white."""
    height, width = frame.image.shape[:2]
    canvas = Canvas(width, height, "overlay")
    canvas.image(_data_uri(frame.image), (width, height))
    if frame.uv_truth is not None:
        for style in ("truth-halo", "truth"):
            for _, a, b in _segments(frame.uv_truth, bones):
                canvas.line(a, b, class_=style)
    for child, a, b in _segments(frame.uv_pred, bones):
        canvas.line(a, b, class_=f"bone stroke-{family(joint_names[child])}")
    for name, (x, y) in zip(joint_names, frame.uv_pred, strict=True):
        if np.isfinite([x, y]).all():
            canvas.circle((x + 0.5, y + 0.5), max(width, height) * 0.011, class_=f"fill-{family(name)}")
    error = "" if frame.error_px is None else f", mean error {frame.error_px:.1f} px"
    return canvas.markup(f"Frame {frame.key} with the predicted skeleton{error}")


def _segments(uv: np.ndarray, bones: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, Point, Point]]:
    """The child and both ends of every visible bone; in a drawing the centre of the first pixel is (0.5, 0.5)."""
    points: list[Point] = [(float(u) + 0.5, float(v) + 0.5) for u, v in uv]
    for parent, child in bones:
        if np.isfinite(uv[[parent, child]]).all():
            yield child, points[parent], points[child]


def _data_uri(image: np.ndarray) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=93, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
