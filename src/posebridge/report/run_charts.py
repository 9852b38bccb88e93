"""Charts of scores, learning curves and the checkpoint choice, as inline SVG."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from posebridge.contracts.record import CheckpointChoice, Score
from posebridge.contracts.roles import ROLES, Role
from posebridge.report.plot import Plot, Series, range_axis
from posebridge.report.svg import Axis, Canvas, axis_over, short
from posebridge.skeletons.joint_colours import joint_family

LABELS: dict[Role, str] = {"source_only": "source only", "adapted": "adapted", "supervised_target": "supervised"}
_MOST_POINTS = 400  # of a curve; more can't be seen at the size of these charts


def gap_track(scores: Mapping[Role, Score]) -> Markup:
    """PCK@0.05 of the three models on one axis, with the gap between them."""
    canvas = Canvas(1040, 74, "chart track")
    values: dict[Role, float] = {
        role: scores[role].pck_005 for role in ROLES if role in scores and math.isfinite(scores[role].pck_005)
    }
    axis = Axis(0, 1, 10, 1030)
    y = 40.0
    canvas.line((axis(0), y), (axis(1), y), class_="rail")
    if "source_only" in values and "adapted" in values:
        canvas.line((axis(values["source_only"]), y), (axis(values["adapted"]), y), class_="gained")
    if "adapted" in values and "supervised_target" in values:
        canvas.line((axis(values["adapted"]), y), (axis(values["supervised_target"]), y), class_="left-open")
    for value in (0, 0.25, 0.5, 0.75, 1):
        canvas.text((axis(value), y + 24), f"{value:g}", "middle", class_="tick")
    for role, value in values.items():
        canvas.circle((axis(value), y), 9, class_=f"mark fill-{role}")
    return canvas.markup("; ".join(f"{LABELS[role]} {value:.3f}" for role, value in values.items()))


def pck_curves(scores: Mapping[Role, Score]) -> Markup:
    """PCK over its threshold, one curve per model."""
    series: dict[Role, Series] = {
        role: [(100 * t, share) for t, share in zip(score.pck_thresholds, score.pck_curve, strict=True)]
        for role, score in scores.items()
    }
    end = max(points[-1][0] for points in series.values())
    plot = Plot(560, 470, Axis(0, end, 44, 456), Axis(0, 1, 420, 16))
    plot.grid("threshold, % of the image side", "share of joints")
    x = plot.x(5)
    plot.canvas.line((x, plot.y(0)), (x, plot.y(1)), class_="guide")
    plot.canvas.text((x + 6, plot.y(0) - 12), "0.05", class_="tick")
    for role, points in series.items():
        plot.line(points, role)
    plot.end_labels({str(role): (LABELS[role], points[-1][1]) for role, points in series.items()})
    alt = "; ".join(f"{LABELS[role]}: {scores[role].pck_005:.3f} at 0.05" for role in series)
    return plot.canvas.markup(f"PCK curves. {alt}")


def bar_role(scores: Mapping[Role, Score]) -> Role:
    """The model whose errors are drawn as bars: the adapted one if it was scored."""
    return next(role for role in ("adapted", "source_only", "supervised_target") if role in scores)


def joint_bars(scores: Mapping[Role, Score]) -> Markup:
    """Mean error of every joint: bars for one model, ticks for the others."""
    shown = bar_role(scores)
    names = scores[shown].joint_names
    errors = {
        role: dict(zip(score.joint_names, score.per_joint_error_px, strict=True)) for role, score in scores.items()
    }
    rows = _rows(names)
    height = rows[-1][1] + 50
    highest = max((e for of in errors.values() for e in of.values() if math.isfinite(e)), default=1.0) or 1.0
    axis = Axis(0, highest, 112, 500)
    canvas = Canvas(560, height)
    for tick in axis.ticks():
        canvas.line((axis(tick), 8), (axis(tick), height - 40), class_="grid")
        canvas.text((axis(tick), height - 26), short(tick), "middle", class_="tick")
    canvas.text((306, height - 8), "mean error, px", "middle", class_="axis")
    for name, y in rows:
        canvas.text((104, y), name.replace("_", " "), "end", class_="label")
        value = errors[shown][name]
        if math.isfinite(value):
            canvas.rect((axis(0), y - 6), (axis(value) - axis(0), 12), rx=2, class_=f"bar fill-{shown}")
            canvas.text((552, y), f"{value:.1f}", "end", class_="value")
        for role in errors:
            other = errors[role].get(name, math.nan)
            if role != shown and math.isfinite(other):
                for style in ("needle-halo", f"needle stroke-{role}"):
                    canvas.line((axis(other), y - 8), (axis(other), y + 8), class_=style)
    worst = max(names, key=lambda name: errors[shown][name] if math.isfinite(errors[shown][name]) else -1)
    return canvas.markup(
        f"Mean error of each joint, {LABELS[shown]}; largest at {worst} with {errors[shown][worst]:.1f} px"
    )


def _rows(names: Sequence[str]) -> list[tuple[str, float]]:
    """Joint names with the y of their rows; a gap separates families of joints."""
    rows, y = [], 18.0
    for i, name in enumerate(names):
        if i:
            y += 20 if joint_family(name) == joint_family(names[i - 1]) else 28
        rows.append((name, y))
    return rows


def learning_curve(metric: str, points: Series) -> Markup:
    """One metric of one stage over training steps."""
    points = points[:: math.ceil(len(points) / _MOST_POINTS)]
    steps, values = [step for step, _ in points], [value for _, value in points]
    plot = Plot(360, 210, range_axis(steps, 46, 346), axis_over(values, 168, 14))
    plot.grid("step", "", ticks=4)
    plot.line(points, "plain")
    if len(points) == 1:
        plot.dots(points, "plain")
    return plot.canvas.markup(f"{metric} over steps, from {short(values[0])} to {short(values[-1])}")


def checkpoint_chart(choice: CheckpointChoice) -> Markup:
    """The criterion over candidates, with the chosen step and the oracle's step."""
    points = [(candidate.step, candidate.score) for candidate in choice.candidates]
    steps = [step for step, _ in points] + ([choice.oracle.step] if choice.oracle else [])
    plot = Plot(560, 300, range_axis(steps, 52, 530), axis_over([score for _, score in points], 250, 34))
    plot.grid("step", "")
    if choice.oracle is not None:
        x = plot.x(choice.oracle.step)
        plot.canvas.line((x, 26), (x, 250), class_="guide")
        anchor = "start" if x < 300 else "end"
        plot.canvas.text((x, 14), "oracle, not used", anchor, class_="tick")
    plot.line(points, "plain")
    plot.dots(points, "plain")
    for step, score in points:
        if step == choice.step:
            plot.canvas.circle((plot.x(step), plot.y(score)), 7, class_="mark fill-adapted")
    return plot.canvas.markup(f"Criterion over candidates; step {choice.step} was chosen")
