"""Masks of hands without forearm, against faces of a second rasteriser."""

from dataclasses import replace

import pytest
import torch

from posebridge.bodies.anny import anny_hand
from posebridge.draw import generator_for
from posebridge.rendering.rasterise import rasterise
from posebridge.skeletons.hand import HAND21
from posebridge.synthesis.depth_clutter import ClutterDistribution
from posebridge.synthesis.depth_scene import DEPTH_STREET, DEPTH_STUDIO, render_depth_hands, with_meshes
from posebridge.synthesis.domains import find_domain, render
from posebridge.synthesis.scene_domain import OccluderDistribution

SIZE = 96
STREET = find_domain("hand-rgb", "street")


@pytest.fixture(scope="module")
def colour():
    return render(replace(STREET, occluders=OccluderDistribution(share=0.0)), 8, SIZE, generator_for(3, 1))


@pytest.fixture(scope="module")
def depth():
    return render_depth_hands(DEPTH_STUDIO, 3, SIZE, generator_for(3, 1))


@pytest.fixture(params=["colour", "depth"])
def batch(request):
    return request.getfixturevalue(request.param)


def test_faces_beyond_the_wrist_belong_to_the_hand(batch):
    batch = batch[:3]  # the reference rasteriser is slow
    rig = anny_hand("right").rig
    vertices_m = with_meshes(batch).vertices_m
    seen = rasterise(vertices_m, rig.faces, batch.camera.K, SIZE, SIZE)
    corners_m = rig.vertices_m[rig.faces.long(), 1]  # F 3, towards the knuckles
    face = seen.face_index.clamp(min=0)
    is_hand = seen.mask & (corners_m.amin(1) > 1e-3)[face]
    is_arm = seen.mask & (corners_m.amax(1) < -1e-3)[face]
    # Meshes are aligned to their joints, so outlines may be off by a pixel.
    assert (is_hand & ~batch.hand_mask).sum() <= 0.003 * is_hand.sum()
    assert (is_arm & batch.hand_mask).sum() <= 0.003 * is_arm.sum()
    assert is_arm.sum() > 0.05 * is_hand.sum()
    assert torch.equal(batch.hand_mask & batch.mask, batch.hand_mask)


def test_joints_before_the_wrist_lie_on_the_hand(batch):
    uv = batch.uv_px.round().long()
    inside = ((uv >= 0) & (uv < SIZE)).all(-1)
    knuckles = [j for j, name in enumerate(HAND21.joints) if name != "wrist"]
    column, row = uv.clamp(0, SIZE - 1).unbind(-1)
    on_hand = batch.hand_mask[torch.arange(len(batch))[:, None], row, column]
    counted = (inside & batch.visible)[:, knuckles]
    assert on_hand[:, knuckles][counted].float().mean() > 0.97


def test_occluders_cut_both_masks(colour):
    covered = render(replace(STREET, occluders=OccluderDistribution(share=1.0)), 8, SIZE, generator_for(3, 1))
    torch.testing.assert_close(covered.uv_px, colour.uv_px)
    assert torch.equal(covered.hand_mask, colour.hand_mask & covered.mask)
    assert (covered.hand_mask != colour.hand_mask).any()


def test_clutter_cuts_both_masks():
    street = replace(DEPTH_STREET, clutter=ClutterDistribution(occluder_share=1.0))
    cluttered = render_depth_hands(street, 3, SIZE, generator_for(3, 2))
    bare = render_depth_hands(replace(street, clutter=ClutterDistribution()), 3, SIZE, generator_for(3, 2))
    torch.testing.assert_close(cluttered.joints_m, bare.joints_m)
    assert torch.equal(cluttered.hand_mask, bare.hand_mask & cluttered.mask)
    assert (cluttered.hand_mask != bare.hand_mask).any()


def test_bodies_have_no_hand_mask():
    batch = render(find_domain("body-rgb", "studio"), 2, 48, generator_for(3, 1))
    assert batch.mask is not None
    assert batch.hand_mask is None
