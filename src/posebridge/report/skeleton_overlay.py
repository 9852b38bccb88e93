"""Pictures with poses drawn over them, as inline SVG."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from posebridge.contracts.record import GalleryFrame
from posebridge.contracts.section import MOVED_PX, Picture
from posebridge.report.pictures import jpeg_uri
from posebridge.report.svg import Canvas, Point
from posebridge.skeletons.joint_colours import joint_family

_GAP = (float("nan"), float("nan"))  # ends a stroke within a path


@dataclass(frozen=True)
class SkeletonStyle:
    """The joints and bones of the poses of a record."""

    joint_names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]  # (parent, child)

    def families(self) -> list[str]:
        """The families of joints whose colours the bones have, each once."""
        return list(dict.fromkeys(joint_family(self.joint_names[child]) for _, child in self.bones))

    def draw_bones(self, canvas: Canvas, uv_px: np.ndarray, style: str) -> None:
        """Draw the bones of a pose (J, 2) whose ends are finite."""
        for child, a, b in segments(uv_px, self.bones):
            canvas.line(a, b, class_=f"{style} stroke-{joint_family(self.joint_names[child])}")

    def draw_joints(self, canvas: Canvas, uv_px: np.ndarray) -> None:
        """Draw the finite joints of a pose (J, 2)."""
        for name, joint in zip(self.joint_names, uv_px, strict=True):
            if np.isfinite(joint).all():
                radius = max(canvas.width, canvas.height) * 0.011
                canvas.circle(drawing_place(joint), radius, class_=f"fill-{joint_family(name)}")


def draw_gallery_frame(frame: GalleryFrame, skeleton: SkeletonStyle) -> Markup:
    """The frame with the predicted skeleton in colours over the true one in white."""
    height, width = frame.image.shape[:2]
    canvas = Canvas(width, height, "overlay")
    canvas.image(jpeg_uri(frame.image), (width, height))
    if frame.uv_truth is not None:
        for style in ("truth-halo", "truth"):
            for _, a, b in segments(frame.uv_truth, skeleton.bones):
                canvas.line(a, b, class_=style)
    skeleton.draw_bones(canvas, frame.uv_pred, "bone")
    skeleton.draw_joints(canvas, frame.uv_pred)
    error = "" if frame.error_px is None else f", mean error {frame.error_px:.1f} px"
    return canvas.markup(f"Frame {frame.key} with the predicted skeleton{error}")


def draw_picture(picture: Picture, data_uri: str, skeleton: SkeletonStyle, alt: str) -> Markup:
    """A section's picture, encoded as ``data_uri``, with its poses."""
    height, width = picture.image.shape[:2]
    side = max(width, height)
    canvas = Canvas(width, height, "overlay")
    canvas.image(data_uri, (width, height))
    predicted, before, after, truth = (picture.pose(role) for role in ("predicted", "before", "after", "truth"))
    if truth is not None:
        for style in ("cross-halo", "cross"):
            for joint in truth[np.isfinite(truth).all(-1)]:
                _cross(canvas, drawing_place(joint), 0.012 * side, style)
    skeletons = [pose for pose in (predicted, after) if pose is not None]
    for pose in skeletons:
        skeleton.draw_bones(canvas, pose, "thin bone")
    if before is not None and after is not None:
        moved = np.linalg.norm(after - before, axis=-1) > MOVED_PX
        for style in ("arrow-halo", "arrow"):
            for joint in np.flatnonzero(moved):
                _arrow(canvas, drawing_place(before[joint]), drawing_place(after[joint]), 0.04 * side, style)
        alt += f"; {moved.sum()} of {len(moved)} joints moved by more than {MOVED_PX:g} px"
    for pose in skeletons:
        skeleton.draw_joints(canvas, pose)
    return canvas.markup(alt)


def segments(uv_px: np.ndarray, bones: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, Point, Point]]:
    """The child joint and both ends of every bone whose ends are finite, in coordinates of the drawing."""
    points = [drawing_place(joint) for joint in uv_px]
    for parent, child in bones:
        if np.isfinite(uv_px[[parent, child]]).all():
            yield child, points[parent], points[child]


def drawing_place(uv_px: np.ndarray) -> Point:
    """A pixel (2,) in coordinates of the drawing, where the centre of the first pixel is (0.5, 0.5)."""
    return float(uv_px[0]) + 0.5, float(uv_px[1]) + 0.5


def _arrow(canvas: Canvas, start: Point, end: Point, head: float, style: str) -> None:
    """A line with a head of length ``head``, shorter where the arrow is short."""
    along = np.subtract(end, start)
    length = float(np.hypot(*along))
    back = -along / length * min(head, 0.6 * length)
    across = 0.5 * np.array([-back[1], back[0]])
    one, other = (np.add(end, back) + side * across for side in (1, -1))
    canvas.path([start, end, _GAP, (one[0], one[1]), end, (other[0], other[1])], class_=style)


def _cross(canvas: Canvas, centre: Point, reach: float, style: str) -> None:
    x, y = centre
    rising = [(x - reach, y + reach), (x + reach, y - reach)]
    canvas.path([(x - reach, y - reach), (x + reach, y + reach), _GAP, *rising], class_=style)
