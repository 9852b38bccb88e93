"""A record as one HTML page: no scripts, no other files, no network."""

import json
import math
from pathlib import Path

import jinja2
from markupsafe import Markup

from posebridge.contracts.files import write_atomically
from posebridge.contracts.names import UNPRINTABLE
from posebridge.contracts.record import CheckpointChoice, GalleryFrame, Record, Score
from posebridge.contracts.roles import ROLES, Role
from posebridge.report import run_charts
from posebridge.report.comparison import comparison_tables
from posebridge.report.formats import duration, number, quantity, share
from posebridge.report.sections import section_view
from posebridge.report.skeleton_overlay import SkeletonStyle, draw_gallery_frame
from posebridge.report.svg import short
from posebridge.skeletons.joint_colours import FAMILY_COLOURS

_TEMPLATES = Path(__file__).parent / "templates"
_KINDS = {
    "best": "Best frames",
    "median": "Frames around the median",
    "worst": "Worst frames",
    "sample": "Frames of the target",
}


def write_report(record: Record, path: Path) -> None:
    """Write the page, whole or not at all. Raises ``InputError`` for an unwritable folder or a full disk."""
    write_atomically(path, render_report(record).encode())


def render_report(record: Record) -> str:
    """The page as text. Every text of the record is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(share=share, number=number, quantity=quantity, duration=duration)
    scores: dict[Role, Score] = {role: record.scores[role] for role in ROLES if role in record.scores}
    skeleton = SkeletonStyle(record.joint_names, record.bones)
    page = environment.get_template("page.html.j2").render(
        record=record,
        style=_style(),
        labels=run_charts.LABELS,
        scores=scores,
        summary=summary(record),
        in_space=any(score.mean_error_mm is not None for score in scores.values()),
        groups=list(dict.fromkeys(group for score in scores.values() for group in score.per_group_pck)),
        bar_role=run_charts.bar_role(scores) if scores else None,
        hardest=_hardest(scores[run_charts.bar_role(scores)]) if scores else [],
        families=skeleton.families(),
        missing=[run_charts.LABELS[role] for role in ROLES if role not in scores],
        figures=_figures(record, scores),
        sections=[section_view(section, skeleton) for section in record.sections],
        learning=_learning(record),
        comparison=comparison_tables(record),
        gallery=_gallery(record, skeleton),
        has_truth=any(frame.uv_truth is not None for frame in record.gallery),
        oracle=_oracle_sentence(record.provenance.checkpoint),
        config=json.dumps(record.provenance.config, indent=2, ensure_ascii=False, default=str),
    )
    return page.translate(UNPRINTABLE)


def summary(record: Record) -> str:
    """The result in one or two sentences."""
    scores, gap = record.scores, record.gap_closed
    if not scores:
        found = " ".join(section.summary for section in record.sections if section.summary)
        return f"No labels of the target were given, so this report has no scores. {found or 'See the frames below.'}"
    if gap is not None and gap < 0:
        return (
            "Adaptation made the model worse on the target than training on synthetic images alone: it moved away from "
            "a model trained on the target's labels."
        )
    if gap is not None:
        return (
            f"Adaptation without labels closed {100 * gap:.0f}% of the gap between training on synthetic images alone "
            "and training on the target's labels."
        )
    if "source_only" in scores and "adapted" in scores:
        before, after = scores["source_only"], scores["adapted"]
        points = 100 * (after.pck_005 - before.pck_005)
        change = f"PCK@0.05 by {points:+.1f} points"
        if record.metric == "mean_error_mm":
            change = f"the mean error from {number(before.mean_error_mm)} to {number(after.mean_error_mm)} mm"
        why = (
            "training on the target's labels is no better than training on synthetic images here"
            if "supervised_target" in scores
            else "no model was trained on the target's labels"
        )
        return f"Adaptation without labels changed {change}. There is no gap to compare this with: {why}."
    if len(scores) < 2:
        return "Fewer than two models were scored, so there is no gap to report."
    return "No adapted model was scored, so there is no gap to report."


def _style() -> str:
    """The style sheet, with the colours of the skeletons."""
    rules = [
        f".stroke-{name} {{ stroke: {colour}; }} .fill-{name} {{ fill: {colour}; }} "
        f".back-{name} {{ background: {colour}; }}\n"
        for name, colour in FAMILY_COLOURS.items()
    ]
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8") + "".join(rules)


def _figures(record: Record, scores: dict[Role, Score]) -> dict[str, Markup]:
    """The charts for which the record has numbers."""
    charts = {}
    if scores:
        charts["track"] = run_charts.gap_track(scores)
        charts["curves"] = run_charts.pck_curves(scores)
        charts["joints"] = run_charts.joint_bars(scores)
    choice = record.provenance.checkpoint
    if choice is not None and len(choice.candidates) > 1:
        charts["checkpoint"] = run_charts.checkpoint_chart(choice)
    return charts


def _learning(record: Record) -> list[tuple[str, list[tuple[str, Markup, str]]]]:
    """Per stage: name, chart and last value of every metric that has points."""
    return [
        (
            stage,
            [
                (metric, run_charts.learning_curve(metric, points), short(points[-1][1]))
                for metric, points in curves.items()
                if points
            ],
        )
        for stage, curves in record.curves.items()
        if any(curves.values())
    ]


def _gallery(record: Record, skeleton: SkeletonStyle) -> list[tuple[str, list[tuple[GalleryFrame, Markup]]]]:
    """Per kind: heading, then frames with their drawings."""
    rows = []
    for kind, heading in _KINDS.items():
        frames = [frame for frame in record.gallery if frame.kind == kind]
        if frames:
            rows.append((heading, [(frame, draw_gallery_frame(frame, skeleton)) for frame in frames]))
    return rows


def _hardest(score: Score, count: int = 5) -> list[tuple[str, float, float]]:
    """The joints with the largest errors: name, error in px, PCK@0.05."""
    rows = zip(score.joint_names, score.per_joint_error_px, score.per_joint_pck, strict=True)
    return sorted((row for row in rows if math.isfinite(row[1])), key=lambda row: -row[1])[:count]


def _oracle_sentence(choice: CheckpointChoice | None) -> str:
    """The step that labels of the target would have chosen, compared with the chosen one."""
    if choice is None or choice.oracle is None:
        return ""
    oracle = choice.oracle
    sentence = f"With the target's labels, step {oracle.step} would have been chosen, at PCK@0.05 {oracle.score:.3f}"
    if choice.oracle_at_choice is not None:
        sentence += f" against {choice.oracle_at_choice:.3f} of the chosen step"
    return f"{sentence}. The oracle is shown for comparison with published numbers and has no part in the choice."
