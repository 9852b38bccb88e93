"""Maps over the body's mesh, checked against the rig's joints, the mirror image and the anatomy."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from posebridge.bodies.anny_body import anny_body
from posebridge.skeletons.body import H36M17
from posebridge.synthesis.body_surface import body_surface


@pytest.fixture(scope="module")
def surface():
    return body_surface()


@pytest.fixture(scope="module")
def rig():
    return anny_body(H36M17).rig


@pytest.fixture(scope="module")
def edges(rig):
    faces = rig.faces
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _around(rig, values, bone, radius_m=0.055):
    """Mean of a map over the skin around a joint."""
    distance = torch.linalg.norm(rig.vertices_m - rig.heads_m[rig.bones.index(bone)], dim=-1)
    return values[distance < radius_m].mean().item()


def _owned(rig, *bones):
    return rig.weights[:, [rig.bones.index(bone) for bone in bones]].sum(1) > 0.9


def _pieces(edges, chosen):
    inner = edges[chosen[edges].all(1)].numpy()
    V = len(chosen)
    _, piece = connected_components(coo_array((np.ones(len(inner)), inner.T), shape=(V, V)), directed=False)
    return len(np.unique(piece[chosen.numpy()]))


def test_stacked_maps_are_columns(surface, rig):
    stacked = surface.stacked()
    assert stacked.shape == (len(rig.vertices_m), 14)
    assert torch.isfinite(stacked).all()
    torch.testing.assert_close(stacked[:, :3], rig.vertices_m)
    for column, name in ((3, "arm"), (4, "height"), (7, "scalp_m"), (12, "eye"), (13, "palm")):
        assert torch.equal(stacked[:, column], getattr(surface, name))


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_arm_runs_from_shoulder_to_wrist(surface, rig, side):
    joints = [f"{b}.{side}" for b in ("upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist", "finger3-1")]
    places = [_around(rig, surface.arm, joint) for joint in joints]
    assert np.all(np.diff(places) > 0)
    head = {b: rig.heads_m[rig.bones.index(f"{b}.{side}")] for b in ("upperarm01", "lowerarm01", "wrist")}
    upper, lower = (head["lowerarm01"] - head["upperarm01"]).norm(), (head["wrist"] - head["lowerarm01"]).norm()
    assert places[2] == pytest.approx((upper / (upper + lower)).item(), abs=0.06)
    assert places[4] == pytest.approx(1.0, abs=0.06)
    # Along the straight forearm the map is the distance along the bone.
    forearm = _owned(rig, f"lowerarm01.{side}", f"lowerarm02.{side}")
    bone = torch.nn.functional.normalize(head["wrist"] - head["lowerarm01"], dim=0)
    along = (rig.vertices_m[forearm] - head["lowerarm01"]) @ bone
    slope = np.polyfit(along.numpy(), surface.arm[forearm].numpy(), 1)[0]
    assert slope == pytest.approx(1 / (upper + lower).item(), rel=0.1)


@pytest.mark.parametrize("side", ["L", "R"])
def test_height_runs_from_ankle_to_neck(surface, rig, side):
    legs = [f"{b}.{side}" for b in ("foot", "lowerleg02", "lowerleg01", "upperleg02")]
    trunk = ["spine04", "spine03", "spine02", "spine01"]
    places = [_around(rig, surface.height, joint, 0.09) for joint in legs]
    places += [_around(rig, surface.height, joint, 0.16) for joint in trunk]
    assert np.all(np.diff(places) > 0)
    hip, knee, ankle = (rig.heads_m[rig.bones.index(f"{b}.{side}")] for b in ("upperleg01", "lowerleg01", "foot"))
    thigh, shin = (knee - hip).norm(), (ankle - knee).norm()
    assert places[2] == pytest.approx(-(thigh / (thigh + shin)).item(), abs=0.04)
    assert _around(rig, surface.height, "neck01", 0.09) == pytest.approx(1.0, abs=0.08)
    level = (rig.vertices_m[:, 1] - ankle[1]).abs() < 0.004
    assert (surface.height[level] + 1).abs().max() < 0.02


def test_arm_and_height_maps_separate_arms_from_the_trunk(surface, rig):
    trunk_and_legs = _owned(rig, *(b for b in rig.bones if b.startswith(("root", "spine", "pelvis", "upperleg"))))
    assert surface.arm[trunk_and_legs].max() < 0  # thighs are farther out than the border at the shoulders
    arms = _owned(rig, *(b for b in rig.bones if b.startswith(("upperarm02", "lowerarm"))))
    assert surface.height[arms].min() > 0.99
    hands = _owned(rig, *(b for b in rig.bones if b.startswith(("wrist", "finger", "metacarpal"))))
    assert rig.vertices_m[hands, 1].min() < 0.1
    assert surface.height[hands].min() > 0.99  # though they hang beside the hips
    assert surface.arm[hands].min() > 0.95


def test_both_sides_are_mirror_images(surface):
    flip = np.array([-1.0, 1.0, 1.0])
    distance, opposite = KDTree(surface.rest_m.numpy()).query(surface.rest_m.numpy() * flip)
    assert distance.max() < 1e-6
    stacked = surface.stacked()
    torch.testing.assert_close(stacked[opposite][:, 3:], stacked[:, 3:], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "length_m", "most"), [("arm", 0.54, 1.7), ("height", 0.9, 1.7)])
def test_borders_of_clothes_are_smooth(surface, rig, edges, name, length_m, most):
    # Between neighbours a coordinate changes by little more than their distance: no jumps at seams.
    values = getattr(surface, name)
    way_m = (surface.rest_m[edges[:, 0]] - surface.rest_m[edges[:, 1]]).norm(dim=-1)
    change = (values[edges[:, 0]] - values[edges[:, 1]]).abs() * length_m
    counts = way_m > 0.003
    if name == "height":  # above are the armpits, where no hem is
        counts &= (values[edges] < 0.62).all(-1)
    assert (change / way_m)[counts].max() < most


def test_cuts_are_closed_lines(surface, edges):
    # Each border divides the skin: a sleeve into one piece of arm per side, a hem into one lower body.
    for sleeve in (0.02, 0.3, 0.6, 0.95):
        assert _pieces(edges, surface.arm > sleeve) == 2
    for hem, pieces in ((0.5, 1), (0.2, 1), (-0.3, 2), (-0.7, 2), (-0.98, 2)):
        assert _pieces(edges, surface.height < hem) == pieces


def test_cross_sections_surround_their_axes(surface, rig):
    angle = torch.atan2(surface.across_m[:, 1], surface.across_m[:, 0])
    limbs = ((surface.arm - 0.3).abs() < 0.1, (surface.arm - 0.75).abs() < 0.1, (surface.height + 0.7).abs() < 0.1)
    for limb in limbs:
        for side in (-1, 1):
            there = limb & (side * rig.vertices_m[:, 0] > 0)
            assert (torch.histc(angle[there], bins=6, min=-np.pi, max=np.pi) > 0).all()
    chest = _owned(rig, "spine01", "spine02")
    assert (angle[chest & (rig.vertices_m[:, 2] > 0.05)] > 0).all()  # the front
    assert (angle[chest & (rig.vertices_m[:, 2] < -0.05)] < 0).all()


def test_the_face_has_its_parts_in_place(surface, rig, edges):
    eyes_y = rig.heads_m[rig.bones.index("eye.L"), 1]
    of_head = _owned(rig, "head")
    nose = torch.where(of_head & (rig.vertices_m[:, 0].abs() < 0.01), rig.vertices_m[:, 2], -1).argmax()
    lips, brow, scalp, beard = surface.lips > 0, surface.brow > 0, surface.scalp_m > 0, surface.beard_m > 0
    y = rig.vertices_m[:, 1]
    assert y[lips].max() < y[nose] < eyes_y < y[brow].min()
    assert y[beard].max() < eyes_y
    for part in (lips, brow, beard):
        assert rig.vertices_m[part, 2].min() > 0.04  # the front half of the head
    assert (scalp & (lips | brow | beard)).sum() == 0
    assert _pieces(edges, brow) == 2
    assert _pieces(edges, scalp) == 1
    assert scalp[y.argmax()]
    eyes = surface.eye > 0
    assert torch.equal(eyes, _owned(rig, "eye.L", "eye.R"))
    assert surface.eye[eyes].min() >= 0.5
    assert surface.eye[eyes].max() > 0.99


def test_hair_does_not_cover_the_ears(surface, rig):
    ear = anny_body(H36M17).rig.vertices_m[:, 0].abs() > 0.082
    ear &= _owned(rig, "head")
    assert ear.sum() > 20
    assert surface.scalp_m[ear].max() < 0
    assert (surface.long_hair_m[ear & (rig.vertices_m[:, 2] < 0.04)] > 0).all()  # covered by long hair


def test_long_hair_falls_over_the_back(surface, rig):
    long_hair = surface.long_hair_m > 0
    below_neck = long_hair & (rig.vertices_m[:, 1] < 0.5)
    assert below_neck.any()
    assert rig.vertices_m[below_neck, 2].max() < 0
    assert surface.arm[long_hair].max() < 0
    assert (~long_hair[(rig.vertices_m[:, 2] > 0.1) & _owned(rig, "head")]).all()


def test_palms_are_on_the_side_to_which_fingers_curl(surface, rig):
    names = ("wrist", "finger2-1", "finger5-1", "finger3-2", "finger3-3")
    at = {bone: rig.heads_m[rig.bones.index(f"{bone}.L")] for bone in names}
    normal = torch.linalg.cross(at["finger2-1"] - at["wrist"], at["finger5-1"] - at["wrist"])
    normal = torch.nn.functional.normalize(normal, dim=0)
    normal = normal * torch.sign((at["finger3-3"] - at["finger3-2"]) @ normal)
    middle = (at["wrist"] + at["finger2-1"] + at["finger5-1"]) / 3
    offset = rig.vertices_m - middle
    near = offset.norm(dim=-1) < 0.03
    depth = offset @ normal
    assert surface.palm[near & (depth > 0.008)].min() > 0.7
    assert surface.palm[near & (depth < -0.008)].max() < 0.3
    assert surface.palm[surface.arm < 0.95][rig.vertices_m[surface.arm < 0.95, 1] > -0.9].max() == 0
    assert surface.palm[rig.vertices_m[:, 1].argmin()] > 0.9  # soles
