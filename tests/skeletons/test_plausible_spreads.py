import numpy as np
import pytest

from posebridge.errors import InputError
from posebridge.skeletons.plausible_lengths import check_unit, size_problems


def boxes(*diagonals_m: float, joints: int = 21) -> np.ndarray:
    """Subjects (N, joints, 3) with these diagonals: their joints lie on a line."""
    along = np.linspace(0, 1, joints)[:, None] * [2 / 3, 1 / 3, 2 / 3]
    return np.array(diagonals_m)[:, None, None] * along + [0, 0, 0.5]


@pytest.mark.parametrize("subject", ["hand", "person"])
@pytest.mark.parametrize(
    ("unit", "real", "factor"),
    [
        ("millimetres", "metres", 1e-3),
        ("millimetres", "centimetres", 0.1),
        ("metres", "millimetres", 1e3),
        ("metres", "centimetres", 1e2),
    ],
)
def test_another_unit_is_named(subject, unit, real, factor):
    sizes = {"hand": (0.15, 0.18, 0.1), "person": (1.7, 1.8, 1.6)}[subject]
    check_unit(boxes(*sizes), subject, "set.json: joints", unit)
    with pytest.raises(InputError, match=rf"set\.json: joints measure .* expected {unit} .*they look like {real}:"):
        check_unit(boxes(*sizes) * factor, subject, "set.json: joints", unit)


def test_single_subjects_of_another_size_are_listed():
    joints = boxes(0.2, 20.3, 0.1, 0.001)
    check_unit(joints, "hand", "x", "metres")
    assert size_problems(joints, "hand") == {
        1: "it measures 2.03e+04 mm across a hand's joints, expected 20 to 500 mm",
        3: "it measures 1 mm across a hand's joints, expected 20 to 500 mm",
    }
    assert size_problems(joints[:0], "hand") == {}


def test_touching_finger_tips_are_no_small_hand():
    joints = boxes(0.2) / 100
    joints[:, 4:] = np.nan
    assert size_problems(joints, "hand") == {}
    check_unit(joints, "hand", "x", "metres")


def test_coincident_joints_have_no_unit():
    with pytest.raises(InputError, match="no common unit gives such a size"):
        check_unit(boxes(0, 0), "person", "x", "metres")
