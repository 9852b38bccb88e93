"""Levels of graph pooling: their sizes in the paper, and properties for any tree."""

from itertools import pairwise

import pytest

from posebridge.skeletons.body import BODIES
from posebridge.skeletons.graph_pooling import pooling_levels
from posebridge.skeletons.hand import FINGERS, HAND21


def test_a_hand_has_the_levels_of_the_paper():
    levels = pooling_levels(HAND21)
    assert [len(level) for level in levels] == [21, 11, 6, 1]
    joints, pairs, fingers, whole = levels
    assert joints.edges == HAND21.bones
    for finger in FINGERS:
        base, middle, far, tip = (joints.coarse_node[HAND21.index(f"{finger}_{i}")] for i in (1, 2, 3, 4))
        assert base == middle != far == tip
        assert pairs.coarse_node[base] == pairs.coarse_node[tip]
    assert joints.coarse_node.count(joints.coarse_node[HAND21.root]) == 1
    assert fingers.parents == (-1, 0, 0, 0, 0, 0)
    assert fingers.coarse_node == (0,) * 6
    assert whole.edges == ()


@pytest.mark.parametrize("skeleton", [HAND21, *BODIES.values()], ids=lambda skeleton: skeleton.name)
def test_levels_are_trees_of_connected_clusters(skeleton):
    levels = pooling_levels(skeleton)
    for fine, coarse in pairwise(levels):
        assert set(fine.coarse_node) == set(range(len(coarse)))
        assert len(coarse) < len(fine)
        assert len(fine.edges) == len(fine) - 1
        for parent, child in fine.edges:
            a, b = fine.coarse_node[parent], fine.coarse_node[child]
            assert a == b or coarse.parents[b] == a
    assert len(levels[-1]) == 1
