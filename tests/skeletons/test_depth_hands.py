import numpy as np
import pytest

from posebridge.skeletons.depth_hands import ICVL16, NYU14
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert


@pytest.mark.parametrize(("skeleton", "count", "root"), [(NYU14, 14, "palm"), (ICVL16, 16, "palm")])
def test_skeletons_are_trees_rooted_at_the_palm(skeleton, count, root):
    assert (len(skeleton), skeleton.joints[skeleton.root]) == (count, root)
    assert len(skeleton.bones) == count - 1
    for joint in range(count):
        steps = 0
        while joint != skeleton.root:
            joint, steps = skeleton.parents[joint], steps + 1
            assert steps < count
    assert all(skeleton.group_indices().values())


def test_nyu_converts_to_hand21_by_position():
    values = np.arange(14.0)[None, :, None]
    moved, valid = convert(values, None, NYU14.canonical_names, HAND21)
    assert valid.sum() == 11
    # The evaluated joints in the release's order: tips and middles from the little finger to the index, then the thumb.
    expected = {"pinky_4": 0, "pinky_2": 1, "ring_4": 2, "middle_2": 5, "index_4": 6, "thumb_4": 8, "thumb_2": 10}
    assert {name: moved[0, HAND21.index(name), 0] for name in expected} == expected


@pytest.mark.parametrize("order", ["msra", "bighand"])
def test_orders_contain_each_joint_once(order):
    assert sorted(ORDERS[order]) == sorted(HAND21.joints)


def test_orders_of_the_releases():
    numbers = np.arange(21.0)[None, :, None]
    msra, _ = convert(numbers, None, ORDERS["msra"], HAND21)
    assert [int(msra[0, HAND21.index(name), 0]) for name in ("wrist", "index_1", "pinky_4", "thumb_1", "thumb_4")] == [
        *(0, 1, 16, 17, 20)
    ]
    bighand, _ = convert(numbers, None, ORDERS["bighand"], HAND21)
    # As the challenge lists them: Wrist, TMCP IMCP MMCP RMCP PMCP, TPIP TDIP TTIP, IPIP IDIP ITIP, ...
    assert [
        int(bighand[0, HAND21.index(name), 0]) for name in ("thumb_1", "pinky_1", "thumb_2", "index_2", "pinky_4")
    ] == [*(1, 5, 6, 9, 20)]
