"""Tiny runs of every method end with the weights that are written down: behaviour stays while code moves."""

import json

import pytest

from experiments.pinned_runs import EXACT, GROUPS, REFERENCE, References, difference, machine, train

REFERENCES: References = json.loads(REFERENCE.read_text())
# Relative, by the last word of a number's name, against the reference of another machine: at least twice the largest
# differences between an AMD and an Intel processor. Rounding grows over steps, where pseudo-labels and ReLUs switch.
TOLERANCES = {"weights": 0.03, "terms": 0.02, "predictions": 0.1, "candidates": 1.5}


@pytest.mark.parametrize("group", GROUPS)
def test_numbers_stay(group, tmp_path):
    differences: list[str] = []
    for run, found in train(group, tmp_path).items():
        reference = next((name for name in (machine(), *REFERENCES) if run in REFERENCES.get(name, {})), None)
        assert reference is not None, f"{run} has no reference: write it with pinned_runs.py"
        expected, same = REFERENCES[reference][run], reference == machine()
        assert [*found] == [*expected], run
        differences += [
            f"{run}, {name}: {sums} instead of {expected[name]} on {reference}, off by {error:.1e}"
            for name, sums in found.items()
            if (error := difference(sums, expected[name])) > (EXACT if same else TOLERANCES[name.split()[-1]])
        ]
    assert not differences, f"on {machine()}:\n" + "\n".join(differences)
