"""What the studies of a method's settings share: the choice of settings, and the numbers of a run."""

from collections.abc import Collection
from typing import Any

from posebridge.contracts.record import Score
from posebridge.errors import InputError
from posebridge.experiments.synthshift import SynthShiftOutcome


def chosen(names: str, known: Collection[str], kind: str = "setting") -> list[str]:
    """The settings of a list that is separated by commas. Raises ``InputError`` for an unknown one."""
    listed = names.split(",")
    if unknown := [name for name in listed if name not in known]:
        raise InputError(f"there is no {kind} {unknown[0]!r}: choose {', '.join(known)}")
    return listed


def report_numbers(outcome: SynthShiftOutcome) -> dict[str, Any]:
    """The numbers in the sections of a run's report, by their labels."""
    return {number.label: number.value for section in outcome.record.sections for number in section.numbers}


def errors_of(score: Score) -> dict[str, float | None]:
    """The columns of errors in space and in the image."""
    return {"EPE mm": score.mean_error_mm, "PA mm": score.pa_mean_error_mm, "PCK@0.05": score.pck_005}
