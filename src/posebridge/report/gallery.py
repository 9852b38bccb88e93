"""Frames with skeletons drawn over them, for the report."""

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from posebridge.contracts.record import GalleryFrame
from posebridge.report.figures import family
from posebridge.report.pictures import jpeg_uri
from posebridge.report.svg import Canvas, Point


def overlay(frame: GalleryFrame, joint_names: tuple[str, ...], bones: tuple[tuple[int, int], ...]) -> Markup:
    """The frame with the predicted skeleton in colours over the true one in white."""
    height, width = frame.image.shape[:2]
    canvas = Canvas(width, height, "overlay")
    canvas.image(jpeg_uri(frame.image), (width, height))
    if frame.uv_truth is not None:
        for style in ("truth-halo", "truth"):
            for _, a, b in segments(frame.uv_truth, bones):
                canvas.line(a, b, class_=style)
    for child, a, b in segments(frame.uv_pred, bones):
        canvas.line(a, b, class_=f"bone stroke-{family(joint_names[child])}")
    for name, (x, y) in zip(joint_names, frame.uv_pred, strict=True):
        if np.isfinite([x, y]).all():
            canvas.circle((x + 0.5, y + 0.5), max(width, height) * 0.011, class_=f"fill-{family(name)}")
    error = "" if frame.error_px is None else f", mean error {frame.error_px:.1f} px"
    return canvas.markup(f"Frame {frame.key} with the predicted skeleton{error}")


def segments(uv: np.ndarray, bones: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, Point, Point]]:
    """The child and both ends of every visible bone, as places in a drawing."""
    points = [place(joint) for joint in uv]
    for parent, child in bones:
        if np.isfinite(uv[[parent, child]]).all():
            yield child, points[parent], points[child]


def place(uv: np.ndarray) -> Point:
    """Where a pixel (2,) lies in a drawing: the centre of the first one is at (0.5, 0.5)."""
    return float(uv[0]) + 0.5, float(uv[1]) + 0.5
