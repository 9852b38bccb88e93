"""What else there is to tell of pseudo-labels over training, beside coverage and precision."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from posebridge.contracts.record import PseudoLabels
from posebridge.report.figures import share_chart

_SHARES = {  # field of PseudoLabels -> name and what it means
    "ever_right": (
        "right at least once",
        "Target joints that have been given a right pseudo-label at least once so far, of all. Where it levels off, "
        "pseudo-labels have no more to teach.",
    ),
    "overlap": (
        "trusted by both",
        "Of the joints trusted by their heat map or by the anatomy of the pose, those trusted by both.",
    ),
    "wrong_again": (
        "wrong again",
        "Pseudo-labels that are wrong at this checkpoint and at the one before, of those wrong at either. What stays "
        "wrong is taught again and again.",
    ),
}


@dataclass(frozen=True)
class Share:
    """One of them, over training."""

    name: str
    words: str
    first: float
    last: float
    chart: Markup


def trust_over_steps(history: Sequence[PseudoLabels]) -> list[Share]:
    """Those that were measured; empty where none was."""
    shares, steps = [], [point.step for point in history]
    for field, (name, words) in _SHARES.items():
        points = [(point.step, getattr(point, field)) for point in history if getattr(point, field) is not None]
        if points:
            shares.append(Share(name, words, points[0][1], points[-1][1], share_chart(name, points, steps)))
    return shares
