"""Maps over the hand's mesh, checked against the anatomy of the posed model."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from posebridge.bodies.anny import anny_hand
from posebridge.synthesis.hand_surface import hand_surface


@pytest.fixture(scope="module")
def surface():
    return hand_surface()


@pytest.fixture(scope="module")
def on_forearm():
    rig = anny_hand("right").rig
    return rig.weights[:, rig.bones.index("forearm")] == 1  # the rings beyond the mesh's own rim


def test_maps_lie_between_zero_and_one(surface):
    stacked = surface.stacked()
    assert stacked.shape == (len(anny_hand("right").rig.vertices_m), 8)
    assert torch.isfinite(stacked).all()
    assert stacked[:, 3:].min() >= 0
    assert stacked[:, 3:].max() <= 1
    torch.testing.assert_close(stacked[:, :3], surface.rest_m)


def test_the_palm_map_is_on_the_palmar_side(surface):
    # Around the middle of the palm, halfway from the wrist to the middle knuckle; z points out of the palm.
    knuckle = anny_hand("right").rig.heads_m[anny_hand("right").rig.bones.index("finger3-1")]
    near = (surface.rest_m[:, :2] - 0.5 * knuckle[:2]).norm(dim=-1) < 0.02
    side = surface.rest_m[near, 2] - surface.rest_m[near, 2].mean()
    assert surface.palm[near][side > 0.006].min() > 0.9
    assert surface.palm[near][side < -0.006].max() < 0.1


def test_nails_lie_on_the_backs_of_the_last_phalanges(surface):
    rig = anny_hand("right").rig
    nail = (surface.nail > 0.3).numpy()
    edges = torch.cat([rig.faces[:, [0, 1]], rig.faces[:, [1, 2]], rig.faces[:, [2, 0]]]).numpy()
    edges = edges[nail[edges].all(1)]
    V = len(nail)
    count, piece = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(V, V)), directed=False)
    nails = [np.flatnonzero(piece == p) for p in range(count) if nail[piece == p].any()]
    assert len(nails) == 5
    last = [rig.bones.index(f"finger{f}-3") for f in range(1, 6)]
    owners = {int(rig.weights[vertices].sum(0).argmax()) for vertices in nails}
    assert owners == set(last)
    of_fingers = nail & (rig.weights[:, last[0]] < 0.5).numpy()  # the thumb's faces sideways
    assert surface.palm[of_fingers].max() < 0.2


def test_tips_are_red_at_the_ends_and_creases_lie_at_joints(surface):
    rig = anny_hand("right").rig
    fingers = [rig.bones.index(f"finger{f}-{k}") for f in range(1, 6) for k in (1, 2, 3)]
    nearest = torch.cdist(surface.rest_m, rig.heads_m[fingers]).amin(1)
    assert nearest[surface.crease > 0.1].max() < 0.025
    assert (surface.tip > 0.8).sum() >= 5
    wrist = surface.rest_m[:, 1] < 0.03
    assert surface.tip[wrist].max() == 0


def test_the_arm_begins_at_the_wrist(surface, on_forearm):
    # Sleeves begin at 0.02 (``sample_skins``), so none covers the hand.
    assert surface.arm[~on_forearm].max() < 0.02
    assert not surface.arm[surface.rest_m[:, 1] > 0].any()
    rings = surface.arm[on_forearm].view(10, -1)  # from the wrist outwards
    assert rings[0].min() > 0.02
    assert (rings[1:] > rings[:-1]).all()
    assert rings[-1].max() == 1
    assert rings[-1].min() > 0.9
