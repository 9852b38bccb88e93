"""How well hand meshes explain the measured depth, as a section of the report. Free of torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posebridge.contracts.roles import Role
from posebridge.contracts.section import PictureRow, Section, Table, TableRow

TITLE = "Explained depth"
_TEXT = (
    "The hand mesh, rendered with the right pose, reproduces a depth frame. The table compares the two; this needs no "
    "labels. It is no joint error, since a wrong pose can explain a frame too."
)
_NOTE = (
    "{frames} frames. The measured surface includes the forearm, and the hand mesh ends near the wrist, so the first "
    "row never reaches 100%. Each picture shows, from left to right: the depth with the joints of the mesh; the mesh "
    "from the camera; the mesh and the measured points from the side."
)


@dataclass(frozen=True)
class DepthFit:
    """How well the hands of one model explain the depth that they were predicted from, over the frames of a target."""

    explained_frac: float  # of the measured surface, within 1 cm of the mesh; the mean over frames
    depth_error_mm: float  # along the ray, where both are: the median over frames of each one's median
    depth_error_p90_mm: float  # the 90th percentile over frames
    pixel_mesh_gap_mm: float  # from pixel-wise joints to mesh joints: the median over frames of each one's mean


def explained_depth(fits: Mapping[Role, DepthFit], frames: int, picture_rows: Sequence[PictureRow] = ()) -> Section:
    """The section of the fits of one or more models over so many ``frames``."""

    def row(label: str, unit: str, values: Sequence[float]) -> TableRow:
        return TableRow(label, tuple(values), unit, digits=1)

    rows = (
        row("measured surface within 1 cm of the mesh", "%", [100 * fit.explained_frac for fit in fits.values()]),
        row("mesh to surface, median frame", "mm", [fit.depth_error_mm for fit in fits.values()]),
        row("mesh to surface, 90th percentile of frames", "mm", [fit.depth_error_p90_mm for fit in fits.values()]),
        row("pixel-wise to mesh joints, median frame", "mm", [fit.pixel_mesh_gap_mm for fit in fits.values()]),
    )
    return Section(
        TITLE,
        _TEXT,
        summary=_summary(fits),
        tables=(Table(tuple(role.replace("_", " ") for role in fits), rows),),
        picture_rows=tuple(picture_rows),
        note=_NOTE.format(frames=frames),
    )


def _summary(fits: Mapping[Role, DepthFit]) -> str:
    """The change by adaptation in one sentence; empty where it wasn't measured."""
    if not {"source_only", "adapted"} <= fits.keys():
        return ""
    before, after = fits["source_only"], fits["adapted"]
    if not (math.isfinite(before.depth_error_mm) and math.isfinite(after.depth_error_mm)):
        return ""
    return (
        f"The hand mesh explains {100 * after.explained_frac:.0f}% of the measured surface to 1 cm, and "
        f"{100 * before.explained_frac:.0f}% before adaptation. Its median distance from the surface is "
        f"{after.depth_error_mm:.1f} mm, and {before.depth_error_mm:.1f} mm before."
    )
