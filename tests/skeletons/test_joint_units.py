import numpy as np
import pytest

from posebridge.skeletons.body import BODIES
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.plausible_lengths import METRES_PER_UNIT, impossible_bones, joint_unit
from posebridge.skeletons.skeleton import Skeleton

# Adult's index finger: metacarpal, phalanges (Buryanov and Kotiuk 2010), wrist to metacarpal left out.
FINGER_M = {"1": 0.068, "2": 0.040, "3": 0.022, "4": 0.016}
# Segments as fractions of the height (Drillis and Contini 1966).
LIMBS = {"knee": 0.245, "ankle": 0.246, "elbow": 0.186, "wrist": 0.146, "hip": 0.19, "shoulder": 0.13}


def straight(skeleton: Skeleton, length_m: dict[str, float], otherwise_m: float) -> np.ndarray:
    """Joints (1, J, 3) with all bones along one axis."""
    joints = np.zeros((1, len(skeleton), 3))
    for parent, child in skeleton.bones:
        word = next((word for word in length_m if skeleton.joints[child].endswith(word)), None)
        joints[:, child] = joints[:, parent] + [0, length_m[word] if word else otherwise_m, 0]
    return joints


def adult_hand() -> np.ndarray:
    return straight(HAND21, FINGER_M, 0)


@pytest.mark.parametrize("unit", METRES_PER_UNIT)
@pytest.mark.parametrize("size", [0.6, 1.0, 1.2])  # a toddler's hand is 11 cm long, an adult's 18 cm
def test_hands(unit, size):
    joints = size * adult_hand() / METRES_PER_UNIT[unit]
    assert joint_unit(joints, np.ones((1, 21), bool), HAND21) == unit


@pytest.mark.parametrize("unit", METRES_PER_UNIT)
@pytest.mark.parametrize("height_m", [0.8, 2.1])
@pytest.mark.parametrize("skeleton", BODIES.values(), ids=lambda skeleton: skeleton.name)
def test_bodies(skeleton, height_m, unit):
    lengths = {name: fraction * height_m for name, fraction in LIMBS.items()}
    joints = straight(skeleton, lengths, 0.1 * height_m) / METRES_PER_UNIT[unit]
    assert joint_unit(joints, np.ones(joints.shape[:2], bool), skeleton) == unit


def test_most_hands_decide():
    joints = np.concatenate([adult_hand()] * 2 + [1000 * adult_hand()])
    valid = np.ones((3, 21), bool)
    assert joint_unit(joints, valid, HAND21) == "metres"
    assert impossible_bones(joints, valid, HAND21).tolist() == [False, False, True]
    assert joint_unit(joints * 1e4, valid, HAND21) is None


def test_hands_that_cannot_be_measured_are_possible():
    valid = np.zeros((1, 21), bool)
    valid[:, [4, 8, 12, 16, 20]] = True
    assert not impossible_bones(adult_hand(), valid, HAND21).any()
    assert joint_unit(adult_hand(), valid, HAND21) == "millimetres"
