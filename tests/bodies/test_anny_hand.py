"""The hand, against Anny's own forward pass, its own left hand, and published proportions."""

from collections import Counter
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from scipy.spatial import cKDTree

from bodies.anny_oracle import anny_vertices, phenotypes, random_rotations
from posebridge.bodies.anny import AnnyHandModel, anny_hand
from posebridge.bodies.anny_body import anny_body
from posebridge.bodies.rig import PosedRig
from posebridge.geometry.alignment import fit_similarity
from posebridge.skeletons.hand import FINGERS, HAND21

SIDES = ("left", "right")


def _rest(model: AnnyHandModel, subjects: torch.Tensor) -> PosedRig:
    rig = model.rig
    identity = torch.eye(3).expand(len(subjects), len(rig.bones), 3, 3)
    return rig.shaped(model.shape_coefficients(subjects)).posed(identity)


@lru_cache(maxsize=1)
def _right() -> tuple[AnnyHandModel, int]:
    """The right hand, and its number of vertices from Anny (the forearm's come after them)."""
    model = anny_hand("right")
    return model, len(model.phenotype_model.template_vertices)


def test_rest_meshes_match_annys_for_all_phenotypes() -> None:
    model, count = _right()
    subjects = phenotypes(6, seed=0)
    values = dict(zip(("gender", "age", "muscle", "weight", "height", "proportions"), subjects.T.double(), strict=True))
    anny = model.phenotype_model
    expected = anny.get_rest_vertices(anny.get_phenotype_blendshape_coefficients(**values))
    ours = _rest(model, subjects).vertices_m()[:, :count].double()
    motion = fit_similarity(ours, expected, with_scale=False)
    assert (motion.apply(ours) - expected).norm(dim=-1).max() < 1e-5
    assert (motion.R - motion.R[:1]).abs().max() < 1e-4  # one frame for all
    sizes = ours.flatten(1).std(1)
    assert sizes.max() > 1.15 * sizes.min()


def test_poses_match_annys_forward() -> None:
    """All bones rotate except those of knuckles and palm, whose pivots and weights differ from Anny's."""
    model, count = _right()
    subjects = phenotypes(4, seed=1)
    bones = list(model.rig.bones)
    moving = [b for b in bones if b == "wrist" or b.startswith("finger1") or (b[:6] == "finger" and b[-1] in "23")]
    assert len(moving) == 1 + 3 + 8
    rotations = random_rotations(4, len(bones), 50, seed=2)
    rotations[:, [b not in moving for b in bones]] = torch.eye(3)
    posed = model.rig.shaped(model.shape_coefficients(subjects)).posed(rotations)

    rest = model.phenotype_model.get_rest_vertices(model.adult_coefficients.double()[None])
    R = fit_similarity(rest, model.rig.vertices_m[None, :count].double(), with_scale=False).R[0].float()
    without_forearm = posed.R_world_rest[:, :-1]
    expected = anny_vertices(model, subjects, R.T @ without_forearm @ R, [f"{b}.R" for b in bones[:-1]])
    expected = expected @ R.T.double()
    distance = (posed.vertices_m()[:, :count] - expected).norm(dim=-1)
    hinged = model.rig.weights[:count, model.rig.bones.index("forearm")] > 0  # skin that moves with our forearm
    assert distance[:, ~hinged].max() < 1e-5
    assert distance.max() < 5e-4
    assert hinged.float().mean() < 0.15


def test_root_rotation_turns_the_hand_about_the_wrist() -> None:
    model, _ = _right()
    rest = _rest(model, phenotypes(2, seed=3))
    rotations = torch.eye(3).repeat(2, len(model.rig.bones), 1, 1)
    rotations[:, 0] = random_rotations(2, 1, 120, seed=4)[:, 0]
    turned = rest.shaped.posed(rotations)
    torch.testing.assert_close(
        turned.vertices_m(), rest.vertices_m() @ rotations[:, 0].transpose(1, 2), atol=1e-6, rtol=0
    )
    assert turned.heads_m[:, model.rig.bones.index("wrist")].abs().max() < 1e-6


def test_the_mirrored_hand_matches_annys_left_hand() -> None:
    _, count = _right()
    left, whole = anny_hand("left").rig, anny_body().rig
    at = {bone: whole.heads_m[i] for i, bone in enumerate(whole.bones)}
    source = torch.stack([left.heads_m[left.bones.index(b)] for b in ("wrist", "finger1-1", "finger1-2", "finger3-2")])
    target = torch.stack([at[f"{b}.L"] for b in ("wrist", "finger1-1", "finger1-2", "finger3-2")])
    motion = fit_similarity(source[None].double(), target[None].double(), with_scale=False)
    assert motion.R.det() == pytest.approx(1)
    ours = motion.apply(left.vertices_m[None, :count].double())[0]
    distance, _ = cKDTree(whole.vertices_m.numpy()).query(ours.numpy())
    assert distance.max() < 5e-4


@pytest.mark.parametrize("side", SIDES)
def test_axes_of_the_frame(side: str) -> None:
    model = anny_hand(side)
    keypoints = _keypoints(model)
    assert keypoints[HAND21.index("wrist")].norm() < 1e-6
    middle = keypoints[HAND21.index("middle_1")]
    assert abs(middle[0]) < 0.12 * middle[1]  # y points to the middle finger
    thumb = keypoints[HAND21.index("thumb_4")]
    assert (thumb[0] > 0.03) == (side == "right")
    assert (thumb[0] < -0.03) == (side == "left")
    assert thumb[2] > 0.005  # the thumb lies before the palm


def _keypoints(model: AnnyHandModel) -> torch.Tensor:
    posed = model.rig.shaped(torch.zeros(1, len(model.rig.vertex_basis_m))).posed(
        torch.eye(3).expand(1, len(model.rig.bones), 3, 3)
    )
    return posed.keypoints_m(posed.vertices_m())[0]


@pytest.mark.parametrize("side", SIDES)
def test_finger_tips_lie_on_the_skin(side: str) -> None:
    model = anny_hand(side)
    keypoints, vertices = _keypoints(model), model.rig.vertices_m
    skin = cKDTree(vertices.numpy())
    for finger in FINGERS:
        tip, before = keypoints[HAND21.index(f"{finger}_4")], keypoints[HAND21.index(f"{finger}_3")]
        along = (tip - before) / (tip - before).norm()
        distance, _ = skin.query(tip.numpy())
        assert distance < 0.0035
        near = vertices[(vertices - tip).norm(dim=-1) < 0.02]
        assert ((near - tip) @ along).max() < 0.003  # little skin beyond it


def test_bone_lengths_are_those_of_adults() -> None:
    """Proximal, middle and distal (with its soft tissue) phalanges of adults, in millimetres.

    Buryanov & Kotiuk 2010, Table 1 gives means of 39.8/22.4/15.8+3.8, 44.6/26.3/17.4+3.9, 41.4/25.7/17.3+4.0,
    32.7/18.1/16.0+3.7 for index to pinky; three of their standard deviations (about 4 mm) are allowed, and the
    wrist to the middle knuckle 64.6 plus the carpus of about 25.
    """
    keypoints = 1000 * _keypoints(anny_hand("right"))
    expected = {
        "index": (39.8, 22.4, 19.6),
        "middle": (44.6, 26.3, 21.3),
        "ring": (41.4, 25.7, 21.3),
        "pinky": (32.7, 18.1, 19.7),
    }
    for finger, lengths in expected.items():
        joints = torch.stack([keypoints[HAND21.index(f"{finger}_{k}")] for k in (1, 2, 3, 4)])
        measured = (joints[1:] - joints[:-1]).norm(dim=-1).tolist()
        assert measured == [pytest.approx(length, abs=12) for length in lengths], finger
        assert measured[0] > measured[1]
    assert 80 < (keypoints[HAND21.index("middle_1")] - keypoints[0]).norm() < 105
    length = (keypoints[HAND21.index("middle_4")] - keypoints[0]).norm()
    assert 165 < length < 215  # from the 5th percentile of women to the 95th of men, DIN 33402-2


@pytest.mark.parametrize("side", SIDES)
def test_skinning_weights_sum_to_one(side: str) -> None:
    weights = anny_hand(side).rig.weights
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", SIDES)
def test_mesh_is_closed_except_at_the_forearms_end(side: str) -> None:
    rig = anny_hand(side).rig
    directed = Counter((a, b) for f in rig.faces.tolist() for a, b in (f[:2], f[1:], (f[2], f[0])))
    assert max(directed.values()) == 1
    rim = sorted({a for a, b in directed if (b, a) not in directed})
    on_rim = rig.vertices_m[rim]
    assert len(rim) == sum((b, a) not in directed for a, b in directed)  # one loop
    assert on_rim[:, 1].max() < -0.1  # far behind the wrist
    assert (rig.weights[rim, rig.bones.index("forearm")] == 1).all()
    a, b, c = (torch.cat([rig.vertices_m, on_rim.mean(0)[None]])[rig.faces[:, k]] for k in range(3))
    volume_ml = 1e6 * (a * torch.linalg.cross(b, c)).sum(-1).sum() / 6
    volume_ml += 1e6 * _cap_volume(rig.vertices_m, directed, on_rim.mean(0))
    assert 500 < volume_ml < 1800  # a hand of about 350 ml and most of a forearm


def _cap_volume(vertices: torch.Tensor, directed: Counter, centre: torch.Tensor) -> torch.Tensor:
    """Signed volume under the fan that closes the open rim."""
    a, b = (vertices[list(ends)] for ends in zip(*(e for e in directed if e[::-1] not in directed), strict=True))
    return (b * torch.linalg.cross(a, centre.expand_as(a))).sum() / 6


def test_vertices_are_differentiable_in_shape_and_pose() -> None:
    rig = anny_hand("right").rig
    fields = {name: getattr(rig, name) for name in rig.__dataclass_fields__}
    rig = replace(rig, **{n: t.double() for n, t in fields.items() if torch.is_tensor(t) and t.is_floating_point()})
    generator = torch.Generator().manual_seed(5)
    pick = torch.randn(rig.vertices_m.shape, generator=generator, dtype=torch.double)

    def value(coefficients: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        zero, one = torch.zeros_like(angle), torch.ones_like(angle)
        c, s = angle.cos(), angle.sin()
        rotations = torch.stack([one, zero, zero, zero, c, -s, zero, s, c], dim=-1).view(1, -1, 3, 3)
        return (rig.shaped(coefficients).posed(rotations).vertices_m() * pick).sum()

    coefficients = torch.zeros(1, len(rig.vertex_basis_m), dtype=torch.double, requires_grad=True)
    angle = torch.full((1, len(rig.bones)), 0.2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(value, (coefficients, angle), fast_mode=True)
