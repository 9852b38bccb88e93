"""The history of pseudo-labels as a section of the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from posebridge.contracts.section import LineChart, Section, Table, TableRow

TITLE = "Pseudo-labels"
_CHARTS = {  # metric of pseudo_label_metrics -> title of its chart, and what it measures
    "ever_correct": (
        "correct at least once",
        "Target joints that had a correct pseudo-label at least once so far, of all. Once this levels off, "
        "pseudo-labels add nothing new.",
    ),
    "overlap": (
        "selected by both criteria",
        "Joints selected both by their heat map and by the anatomy of the pose, of those selected by either.",
    ),
    "repeated_errors": (
        "repeated errors",
        "Pseudo-labels that are wrong at this checkpoint and at the one before, of those wrong at either.",
    ),
}


def pseudo_label_sections(candidates: Iterable[Mapping[str, Any]]) -> tuple[Section, ...]:
    """The metrics of pseudo-labels over the checkpoints of a stage; no section for a stage without pseudo-labels.

    ``candidates`` are those of a ``StageReport``: step, coverage and, where they were measured, further metrics.
    """
    points = [candidate for candidate in candidates if "coverage" in candidate]
    if not points:
        return ()
    main = {name: _series(points, name) for name in ("coverage", "precision")}
    text = "Coverage is the share of target joints that the training used as pseudo-labels. "
    if main["precision"]:
        text += (
            "Precision is the share of those with an error below 5% of the image side; the true joints were used for "
            "this chart only."
        )
    else:
        text += "Precision wasn't measured, since there are no labels of the target."
    measured = {name: series for name, series in main.items() if series}
    charts = [LineChart(" and ".join(measured), "step", "share", measured, (0, 1))]
    for name, (title, note) in _CHARTS.items():
        if series := _series(points, name):
            charts.append(LineChart(title, "step", "share", {title: series}, (0, 1), note=note))
    ends = (points[0], points[-1])
    rows = tuple(TableRow(name, tuple(point.get(name) for point in ends)) for name in measured)
    table = Table(tuple(f"step {point['step']:.0f}" for point in ends), rows)
    return (Section(TITLE, text, tables=(table,), line_charts=tuple(charts)),)


def _series(points: Sequence[Mapping[str, Any]], name: str) -> tuple[tuple[float, float], ...]:
    """(step, value) with NaN where the metric wasn't measured; empty where it never was."""
    series = tuple((point["step"], point.get(name, math.nan)) for point in points)
    return series if any(math.isfinite(value) for _, value in series) else ()
