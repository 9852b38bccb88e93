"""Tiny runs of every method end with the weights that are written down: behaviour stays while code moves."""

import json

import pytest

from experiments.pinned_runs import GROUPS, REFERENCE, machine, train

EXPECTED = json.loads(REFERENCE.read_text())
SAME_MACHINE = machine() == EXPECTED["machine"]
EXACT = 1e-12  # relative; on the machine that wrote the reference
TOLERANCE = 1e-5  # relative; other processors round differently
CANDIDATES_TOLERANCE = 0.1  # there: scores count joints, and one more or less may agree


@pytest.mark.parametrize("group", GROUPS)
def test_numbers_stay(group, tmp_path):
    found, expected = train(group, tmp_path), EXPECTED["runs"][group]
    assert {run: [*sums] for run, sums in found.items()} == {run: [*sums] for run, sums in expected.items()}
    differences = [
        f"{run}, {name}: {found[run][name]} instead of {sums}, off by {error:.1e}"
        for run in expected
        for name, sums in expected[run].items()
        if (error := _error(found[run][name], sums)) > _bound(name)
    ]
    hint = "must match to the last digit" if SAME_MACHINE else "is another machine than the reference's: rounding"
    assert not differences, f"{machine()} {hint}:\n" + "\n".join(differences)


def _error(found: list[float], expected: list[float]) -> float:
    """Of both sums, relative to the sum of absolute values."""
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) / max(expected[0], 1e-9)


def _bound(name: str) -> float:
    if SAME_MACHINE:
        return EXACT
    return CANDIDATES_TOLERANCE if name.endswith("candidates") else TOLERANCE
