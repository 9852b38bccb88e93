import numpy as np
import pytest

from posebridge.errors import InputError
from posebridge.skeletons.body import BODIES, H36M17
from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.plausible_lengths import check_plausible_lengths, measure

RNG = np.random.default_rng(0)
# Bones of the middle finger in mm (Buryanov and Kotiuk, Int. J. Morphol. 2010), the first with 35 mm of carpus.
HAND_BONES = (99.6, 44.6, 26.3, 17.4)
HANDS = (HAND21, NYU14, ICVL16)
UNITS = {"metres": 1000, "centimetres": 10, "inches": 25.4, "micrometres": 0.001, "tenths of a millimetre": 0.1}


def figure(skeleton, bones_mm, frames=9):
    """Bones of the given lengths by their number from the root, in random directions."""
    joints = np.zeros((frames, len(skeleton), 3))
    waiting = [(skeleton.root, 0)]
    while waiting:
        joint, depth = waiting.pop()
        for child in (c for c, parent in enumerate(skeleton.parents) if parent == joint):
            way = RNG.normal(size=(frames, 3))
            length = bones_mm[min(depth, len(bones_mm) - 1)]
            joints[:, child] = joints[:, joint] + length * way / np.linalg.norm(way, axis=-1, keepdims=True)
            waiting.append((child, depth + 1))
    return joints + np.array([0, 0, 600])


def bones_of(skeleton):
    return {"hand21": HAND_BONES, "nyu14": (75, 45, 25), "icvl16": (57, 29, 19)}.get(skeleton.name, (250,))


@pytest.mark.parametrize("skeleton", [*HANDS, *BODIES.values()], ids=lambda s: s.name)
@pytest.mark.parametrize("size", [0.35, 1, 1.6], ids=["newborn", "adult", "giant"])
def test_people_of_all_sizes_in_millimetres(skeleton, size):
    joints = size * figure(skeleton, bones_of(skeleton))
    for names in (skeleton.joints, skeleton.canonical_names, None, tuple(map(str, range(len(skeleton))))):
        check_plausible_lengths(joints, names, "labels.npz: joints")
    check_plausible_lengths(joints / 1000, skeleton.joints, "MANO.npz", unit="metres")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("skeleton", [HAND21, H36M17], ids=lambda s: s.name)
def test_other_units_are_named(skeleton, unit):
    joints = figure(skeleton, bones_of(skeleton)) / UNITS[unit]
    message = rf"labels.npz: joints measure.*look like {unit}: multiply them by {UNITS[unit]:g}"
    with pytest.raises(InputError, match=message):
        check_plausible_lengths(joints, skeleton.joints, "labels.npz: joints")


@pytest.mark.parametrize("joints", [RNG.normal(size=(50, 21, 3)) * 0.05, figure(H36M17, (250,)) / 1000])
def test_metres_of_unnamed_joints(joints):
    with pytest.raises(InputError, match=r"look like metres: multiply them by 1000"):
        check_plausible_lengths(joints, None, "truth")
    check_plausible_lengths(1000 * joints, None, "truth")


def test_millimetres_where_metres_are_expected():
    message = r"1.88e\+05 mm from the wrist.*expected metres.*millimetres: multiply them by 0.001"
    with pytest.raises(InputError, match=message):
        check_plausible_lengths(figure(HAND21, HAND_BONES), HAND21.joints, "MANO.npz", unit="metres")


def test_noise_and_missing_joints_leave_the_length():
    joints = figure(HAND21, HAND_BONES, frames=200)
    noisy = joints + RNG.normal(0, 3, joints.shape)
    noisy[RNG.random(joints.shape[:2]) < 0.3] = np.nan
    noisy[0] = 0  # coinciding joints are no hand
    extent = measure(noisy, HAND21.joints)
    assert extent.mm == pytest.approx(sum(HAND_BONES), rel=0.06)


def test_joints_without_a_chain_are_measured_by_their_box():
    tips = figure(HAND21, HAND_BONES)[:, 4::4]
    names = HAND21.joints[4::4]
    assert measure(tips, names).mm == pytest.approx(np.median(np.linalg.norm(np.ptp(tips, axis=1), axis=-1)))
    assert measure(tips[:, :2], names[:2]) is None
    assert measure(np.full((3, 21, 3), np.nan), HAND21.joints) is None


def test_no_unit_fits():
    with pytest.raises(InputError, match="no common unit gives such a size"):
        check_plausible_lengths(1e-9 * figure(HAND21, HAND_BONES), HAND21.joints, "truth")
