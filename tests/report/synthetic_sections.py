"""A section with every part, and a record of a run on depth with its section."""

import dataclasses
import math

import numpy as np

from posebridge.contracts.record import Record
from posebridge.contracts.section import (
    GroupChart,
    Legend,
    LineChart,
    Number,
    Picture,
    PictureRow,
    PoseOverlay,
    Section,
    Table,
    TableRow,
)
from posebridge.methods.multi_view_fusion.explained_depth_section import DepthFit, explained_depth
from report.synthetic_record import hand_uv, synthetic_record


def toy_section(name: str) -> Section:
    """A section with every part, with ``name`` in all of its texts."""
    uv = hand_uv(64, 0.0)
    poses = (PoseOverlay("before", uv + 3), PoseOverlay("after", uv), PoseOverlay("truth", uv + 1))
    image = np.full((64, 64, 3), 90, np.uint8)
    return Section(
        f"{name} section",
        f"{name}: First paragraph.\n\nSecond paragraph.",
        summary=f"{name} summary.",
        numbers=(Number(f"{name} number", 12.5, "mm", 2, "of all"), Number(f"{name} nothing", math.nan)),
        tables=(Table((f"{name} one", "two"), (TableRow(name, (0.25, None)),), f"{name} table"),),
        line_charts=(
            LineChart(f"{name} line", "step", "value", {name: ((0, 1.0), (5, math.nan), (9, 3.0)), "b": ((0, 2.0),)}),
            LineChart(
                f"{name} walk", "z", "angle", {name: ((-1.0, 0.0), (1.0, 90.0))}, (0, 180), note=f"{name}: steps"
            ),
            LineChart(f"{name} scatter", "u", "v", {name: ((0.0, 1.0), (1.0, 0.0))}, style="points"),
        ),
        group_charts=(
            GroupChart(
                f"{name} groups", "share", (name, "DIP"), {name: (0.1, 0.2), "b": (0.3, 0.4), "c": (0.5, 0.6)}, (7, 8)
            ),
        ),
        legends=(
            Legend(f"{name} legend", f"{name}: colours.", np.zeros((4, 40, 4), np.uint8), (f"{name} low", "high")),
        ),
        picture_rows=(
            PictureRow(
                f"{name} row",
                (
                    Picture(image, f"{name} caption", poses),
                    Picture(image, f"{name} map", (PoseOverlay("predicted", uv),), lossless=True),
                ),
                (Number(f"{name} fact", 1),),
            ),
        ),
        note=f"{name} note",
    )


def depth_record() -> Record:
    """A run on depth, without labels of the target."""
    rng = np.random.default_rng(4)

    def row(index: int, *captions: str) -> PictureRow:
        strips = [rng.integers(0, 255, (32, 96, 3), dtype=np.uint8) for _ in captions]
        return PictureRow(f"frame-{index}", tuple(map(Picture, strips, captions)))

    fits = {"source_only": DepthFit(0.412, 11.25, 30.5, 24.0), "adapted": DepthFit(0.733, 4.5, 9.75, 8.0)}
    rows = (
        row(0, "before adaptation, 12.0 mm", "after adaptation, 4.0 mm"),
        row(1, "before adaptation, no overlap", "after adaptation, 5.5 mm"),
    )
    record = synthetic_record(False)
    return dataclasses.replace(
        record, method="multi-view-fusion", sections=(explained_depth(fits, 19, rows), *record.sections)
    )
