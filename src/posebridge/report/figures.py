"""The report's charts, each a function from a record's numbers to inline SVG."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from posebridge.contracts.record import ROLES, CheckpointChoice, PseudoLabels, Role, Score
from posebridge.report.svg import Axis, Canvas, axis_over, short

LABELS: dict[Role, str] = {"source_only": "source only", "adapted": "adapted", "supervised_target": "supervised"}
_MOST_POINTS = 400  # of a curve; more can't be seen at the size of these charts
_FAMILIES = ("thumb", "index", "middle", "ring", "pinky", "left", "right")

Series = Sequence[tuple[float, float]]


def family(joint: str) -> str:
    """What a joint is coloured by: its finger, its side, or centre."""
    first = joint.split("_")[0]
    return first if first in _FAMILIES else "centre"


def gap_track(scores: Mapping[Role, Score]) -> Markup:
    """The three scores on one line, so that the gap, and how much of it was closed, can be seen."""
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
    """Share of joints within each distance."""
    series: dict[Role, Series] = {
        role: [(100 * t, share) for t, share in zip(score.pck_thresholds, score.pck_curve, strict=True)]
        for role, score in scores.items()
    }
    end = max(points[-1][0] for points in series.values())
    plot = _Plot(560, 470, Axis(0, end, 44, 456), Axis(0, 1, 420, 16))
    plot.grid("distance from the truth, % of the image side", "share of joints")
    x = plot.x(5)
    plot.canvas.line((x, plot.y(0)), (x, plot.y(1)), class_="guide")
    plot.canvas.text((x + 6, plot.y(0) - 12), "0.05", class_="tick")
    for role, points in series.items():
        plot.line(points, role)
    plot.end_labels({str(role): (LABELS[role], points[-1][1]) for role, points in series.items()})
    alt = "; ".join(f"{LABELS[role]}: {scores[role].pck_005:.3f} at 0.05" for role in series)
    return plot.canvas.markup(f"PCK curves. {alt}")


def bar_role(scores: Mapping[Role, Score]) -> Role:
    """The model that the page is about: the adapted one, where it was scored."""
    return next(role for role in ("adapted", "source_only", "supervised_target") if role in scores)


def joint_bars(scores: Mapping[Role, Score]) -> Markup:
    """Mean error of every joint: a bar for the model in question, ticks for the ones to compare it with."""
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
    """Joint names with their heights; a little air where a new finger begins."""
    rows, y = [], 18.0
    for i, name in enumerate(names):
        if i:
            y += 20 if family(name) == family(names[i - 1]) else 28
        rows.append((name, y))
    return rows


def learning_curve(metric: str, points: Series) -> Markup:
    """One number of one stage over training steps."""
    points = points[:: math.ceil(len(points) / _MOST_POINTS)]
    steps, values = [step for step, _ in points], [value for _, value in points]
    plot = _Plot(360, 210, _step_axis(steps, 46, 346), axis_over(values, 168, 14))
    plot.grid("step", "", about=4)
    plot.line(points, "plain")
    if len(points) == 1:
        plot.dots(points, "plain")
    return plot.canvas.markup(f"{metric} over steps, from {short(values[0])} to {short(values[-1])}")


def pseudo_label_chart(points: Sequence[PseudoLabels]) -> Markup:
    """Coverage, and precision where there is truth, over training steps."""
    plot = _Plot(560, 300, _step_axis([point.step for point in points], 44, 456), Axis(0, 1, 250, 16))
    plot.grid("step", "share")
    last = points[-1]
    series = {"coverage": [(point.step, point.coverage) for point in points]}
    labels = {"coverage": ("coverage", last.coverage)}
    precise = [(point.step, point.precision) for point in points if point.precision is not None]
    if precise:
        series["precision"] = precise
        labels["precision"] = ("precision", precise[-1][1])
    for name, values in series.items():
        plot.line(values, name)
        plot.dots(values, name)
    plot.end_labels(labels)
    ends = ", ".join(f"{name} ends at {value:.2f}" for name, (_, value) in labels.items())
    return plot.canvas.markup(f"Pseudo-labels over training: {ends}")


def share_chart(name: str, points: Series, steps: Sequence[float]) -> Markup:
    """A share over training steps, on the whole axis from 0 to 1; ``steps`` are those that the axis has to hold."""
    plot = _Plot(360, 210, _step_axis(steps, 46, 346), Axis(0, 1, 168, 14))
    plot.grid("step", "", about=4)
    plot.line(points, "plain")
    plot.dots(points, "plain")
    return plot.canvas.markup(f"{name} over steps, from {points[0][1]:.2f} to {points[-1][1]:.2f}")


def checkpoint_chart(choice: CheckpointChoice) -> Markup:
    """The criterion over candidates, the one chosen, and the oracle's step for comparison."""
    points = [(candidate.step, candidate.score) for candidate in choice.candidates]
    steps = [step for step, _ in points] + ([choice.oracle.step] if choice.oracle else [])
    plot = _Plot(560, 300, _step_axis(steps, 52, 530), axis_over([score for _, score in points], 250, 34))
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


def _step_axis(steps: Sequence[float], start_px: float, end_px: float) -> Axis:
    low, high = min(steps), max(steps)
    return Axis(low, high if high > low else low + 1, start_px, end_px)


class _Plot:
    """A canvas with two axes."""

    def __init__(self, width: float, height: float, x: Axis, y: Axis):
        self.canvas, self.x, self.y = Canvas(width, height), x, y

    def grid(self, x_title: str, y_title: str, about: int = 5) -> None:
        """Rules, ticks and the axes' titles."""
        for tick in self.y.ticks(about):
            y = self.y(tick)
            self.canvas.line((self.x.start_px, y), (self.x.end_px, y), class_="grid")
            self.canvas.text((self.x.start_px - 8, y), short(tick), "end", class_="tick")
        for tick in self.x.ticks(about):
            self.canvas.text((self.x(tick), self.y.start_px + 16), short(tick), "middle", class_="tick")
        middle = (self.x.start_px + self.x.end_px) / 2
        self.canvas.text((middle, self.y.start_px + 36), x_title, "middle", class_="axis")
        if y_title:
            self.canvas.text((self.x.start_px + 6, self.y.end_px - 6), y_title, class_="axis")

    def line(self, points: Series, colour: str) -> None:
        """A curve."""
        self.canvas.path([(self.x(x), self.y(y)) for x, y in points], class_=f"curve stroke-{colour}")

    def dots(self, points: Series, colour: str) -> None:
        """A dot on every finite point."""
        for x, y in points:
            if math.isfinite(y):
                self.canvas.circle((self.x(x), self.y(y)), 3, class_=f"fill-{colour}")

    def end_labels(self, ends: Mapping[str, tuple[str, float]], apart_px: float = 18) -> None:
        """The curves' names to the right of their ends, pushed apart where they would overlap."""
        placed: list[float] = []
        finite = {colour: end for colour, end in ends.items() if math.isfinite(end[1])}
        for colour, (label, value) in sorted(finite.items(), key=lambda item: -item[1][1]):
            y = max(self.y(value), placed[-1] + apart_px if placed else -math.inf)
            placed.append(y)
            self.canvas.text((self.x.end_px + 8, y), label, class_=f"name text-{colour}")
