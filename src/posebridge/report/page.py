"""A record as one HTML page that needs nothing else: no network, no script, no second file."""

import json
import math
from pathlib import Path

import jinja2
from markupsafe import Markup

from posebridge.contracts.files import write_atomically
from posebridge.contracts.record import ROLES, CheckpointChoice, GalleryFrame, Record, Role, Score
from posebridge.report import figures
from posebridge.report.beside import tables_beside
from posebridge.report.confident import confident_chart, confident_rows
from posebridge.report.depth_hands import depth_strips, depth_verdict
from posebridge.report.gallery import overlay
from posebridge.report.redrawing import redrawn_frames
from posebridge.report.trust import trust_over_steps

_TEMPLATES = Path(__file__).parent / "templates"
_KINDS = {
    "best": "Best frames",
    "median": "Frames around the median",
    "worst": "Worst frames",
    "sample": "Frames of the target",
}


def write_report(record: Record, path: Path) -> None:
    """Write the page, whole or not at all. Raises ``InputError`` where the folder or the disk refuses."""
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
    environment.filters["share"] = share
    environment.filters["number"] = number
    environment.filters["duration"] = duration
    scores: dict[Role, Score] = {role: record.scores[role] for role in ROLES if role in record.scores}
    trust = trust_over_steps(record.pseudo_labels)
    return environment.get_template("page.html.j2").render(
        record=record,
        style=_style(bool(record.redrawings or record.confident or trust)),
        labels=figures.LABELS,
        scores=scores,
        verdict=verdict(record),
        in_space=any(score.mean_error_mm is not None for score in scores.values()),
        groups=list(dict.fromkeys(group for score in scores.values() for group in score.per_group_pck)),
        bar_role=figures.bar_role(scores) if scores else None,
        hardest=_hardest(scores[figures.bar_role(scores)]) if scores else [],
        families=list(dict.fromkeys(figures.family(record.joint_names[child]) for _, child in record.bones)),
        precise=any(point.precision is not None for point in record.pseudo_labels),
        missing=[figures.LABELS[role] for role in ROLES if role not in scores],
        figures=_figures(record, scores),
        trust=trust,
        confident=list(confident_rows(record.confident)) if record.confident else [],
        depth_strips=depth_strips(record.depth_hands),
        redrawn=redrawn_frames(record) if record.redrawings else None,
        learning=_learning(record),
        beside=tables_beside(record),
        gallery=_gallery(record),
        has_truth=any(frame.uv_truth is not None for frame in record.gallery),
        oracle=_oracle_sentence(record.provenance.checkpoint),
        config=json.dumps(record.provenance.config, indent=2, ensure_ascii=False, default=str),
    )


def _style(reconstruction: bool) -> str:
    """The page's style sheet, and the one of the parts that only reconstruction has."""
    names = ["style.css", "reconstruction.css"] if reconstruction else ["style.css"]
    return "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def verdict(record: Record) -> str:
    """What the numbers say, in one sentence."""
    scores, gap = record.scores, record.gap_closed
    if not scores:
        nothing = "No labels of the target were given, so nothing on this page is a score"
        explained = depth_verdict(record.depth_fits)
        return f"{nothing}. {explained}" if explained else f"{nothing}; look at the frames below."
    if gap is not None and gap < 0:
        return (
            "Adaptation made the model worse on the target than training on synthetic images alone: it moved away from "
            "what the target's own labels would give."
        )
    if gap is not None:
        return (
            f"Adapting without one label closed {100 * gap:.0f}% of the distance between training on synthetic images "
            "alone and training on the target's own labels."
        )
    if "source_only" in scores and "adapted" in scores:
        before, after = scores["source_only"], scores["adapted"]
        points = 100 * (after.pck_005 - before.pck_005)
        change = f"PCK@0.05 by {points:+.1f} points"
        if record.metric == "mean_error_mm":
            change = f"the mean error from {number(before.mean_error_mm)} to {number(after.mean_error_mm)} mm"
        why = (
            "training on the target's labels does no better than synthetic images here"
            if "supervised_target" in scores
            else "no model was trained on the target's labels"
        )
        return f"Adapting without one label changed {change}. There is no gap to relate it to: {why}."
    return "Too few of the three models were scored to speak of a gap."


def share(value: float | None) -> str:
    """A share in [0, 1] with three digits, or n/a."""
    return number(value, 3)


def number(value: float | None, digits: int = 1) -> str:
    """A number, or n/a where there is none."""
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _figures(record: Record, scores: dict[Role, Score]) -> dict[str, Markup]:
    """The charts that the record has numbers for."""
    charts = {}
    if scores:
        charts["track"] = figures.gap_track(scores)
        charts["curves"] = figures.pck_curves(scores)
        charts["joints"] = figures.joint_bars(scores)
    if record.pseudo_labels:
        charts["pseudo"] = figures.pseudo_label_chart(record.pseudo_labels)
    if record.confident:
        charts["confident"] = confident_chart(record.confident)
    choice = record.provenance.checkpoint
    if choice is not None and len(choice.candidates) > 1:
        charts["checkpoint"] = figures.checkpoint_chart(choice)
    return charts


def _learning(record: Record) -> list[tuple[str, list[tuple[str, Markup, str]]]]:
    """Stage by stage: name, chart and last value of every metric that has points."""
    return [
        (
            stage,
            [
                (metric, figures.learning_curve(metric, points), figures.short(points[-1][1]))
                for metric, points in curves.items()
                if points
            ],
        )
        for stage, curves in record.curves.items()
        if any(curves.values())
    ]


def _gallery(record: Record) -> list[tuple[str, list[tuple[GalleryFrame, Markup]]]]:
    """Kind by kind: heading, then frames with their drawings."""
    rows = []
    for kind, heading in _KINDS.items():
        frames = [frame for frame in record.gallery if frame.kind == kind]
        if frames:
            rows.append((heading, [(frame, overlay(frame, record.joint_names, record.bones)) for frame in frames]))
    return rows


def _hardest(score: Score, count: int = 5) -> list[tuple[str, float, float]]:
    """The joints with the largest errors: name, error in px, PCK@0.05."""
    rows = zip(score.joint_names, score.per_joint_error_px, score.per_joint_pck, strict=True)
    return sorted((row for row in rows if math.isfinite(row[1])), key=lambda row: -row[1])[:count]


def _oracle_sentence(choice: CheckpointChoice | None) -> str:
    """How the label-free choice compares with what labels would have chosen."""
    if choice is None or choice.oracle is None:
        return ""
    oracle = choice.oracle
    sentence = f"With the target's labels, step {oracle.step} would have been chosen, at PCK@0.05 {oracle.score:.3f}"
    if choice.oracle_at_choice is not None:
        sentence += f" against {choice.oracle_at_choice:.3f} of the step that was chosen"
    return f"{sentence}. This oracle is shown for comparison with published numbers and took no part in the choice."
