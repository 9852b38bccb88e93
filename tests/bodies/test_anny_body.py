"""The body, against Anny's own forward pass and its own keypoint regressors."""

from collections import Counter
from itertools import pairwise

import pytest
import torch

from bodies.anny_oracle import anny_vertices, phenotypes, random_rotations
from posebridge.bodies.anny_body import BodyModel, anny_body
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, H36M17, MPII16, SMPL24
from posebridge.skeletons.skeleton import Skeleton

R_BODY_WORLD = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # Anny: x to the left, z up, facing -y
SKELETONS = (COCO17, H36M17, SMPL24, MPII16)


def _rest_keypoints(model: BodyModel) -> dict[str, torch.Tensor]:
    rig = model.rig
    posed = rig.shaped(torch.zeros(1, len(rig.vertex_basis_m))).posed(torch.eye(3).expand(1, 104, 3, 3))
    return dict(zip(rig.joints, posed.keypoints_m(posed.vertices_m())[0], strict=True))


def _posed(model: BodyModel, subjects: torch.Tensor, degrees: float, seed: int):
    """Our vertices and keypoints, and Anny's vertices in the body's frame."""
    rotations = random_rotations(len(subjects), 104, degrees, seed)
    posed = model.rig.shaped(model.shape_coefficients(subjects)).posed(rotations)
    in_world = R_BODY_WORLD.T @ posed.R_world_rest @ R_BODY_WORLD
    expected = anny_vertices(model, subjects, in_world, list(model.rig.bones))
    vertices = posed.vertices_m()
    expected = (expected @ R_BODY_WORLD.T.double()).float()
    return vertices, posed.keypoints_m(vertices), expected


def test_the_size_of_the_rig() -> None:
    rig = anny_body().rig
    assert len(rig.bones) == len(rig.parents) == 104
    assert rig.vertices_m.shape == (13718, 3)
    torch.testing.assert_close(rig.weights.sum(1), torch.ones(13718), atol=1e-5, rtol=0)
    assert rig.weights.min() >= 0


@pytest.mark.parametrize("degrees", [0.0, 40.0])
def test_posed_vertices_match_annys_forward(degrees: float) -> None:
    ours, _, expected = _posed(anny_body(), phenotypes(3, seed=0), degrees, seed=1)
    assert (ours - expected).norm(dim=-1).max() < 1e-4


def test_axes_of_the_frame() -> None:
    joints = _rest_keypoints(anny_body(COCO17))
    assert joints["left_shoulder"][0] > 0.1 > -0.1 > joints["right_shoulder"][0]
    assert joints["nose"][1] > joints["left_hip"][1] + 0.4
    assert joints["nose"][2] > joints["left_ear"][2] + 0.05
    assert _rest_keypoints(anny_body(H36M17))["pelvis"].norm() < 1e-6
    height = anny_body().rig.vertices_m[:, 1].max() - anny_body().rig.vertices_m[:, 1].min()
    assert 1.6 < height < 1.9


@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_keypoints_are_near_annys_coco_regressors(degrees: float) -> None:
    """Annotated points are in the middle of the visible part, ours at the centre of rotation: they differ by some cm.

    The difference is largest at hips, shoulders and knees of short people, whose bones start above the patella.
    """
    from anny.keypoints import KeypointsRegressor

    model = anny_body(COCO17)
    subjects = phenotypes(8, seed=2)
    subjects[:, 1] = subjects[:, 1] * 0.5 + 0.5  # adults
    subjects[0] = torch.tensor([0.5, 2 / 3, 0.5, 0.5, 0.5, 0.5])
    _, keypoints, vertices = _posed(model, subjects, degrees, seed=3)
    regress = KeypointsRegressor.coco(model.phenotype_model, labels=list(COCO17.joints))
    distance_mm = 1000 * (keypoints - regress({"vertices": vertices.double()})).norm(dim=-1)
    limit_mm = {"nose": 20, "eye": 10, "ear": 20, "wrist": 25, "elbow": 35, "ankle": 35}
    for joint, (mean_adult, *others) in zip(COCO17.joints, distance_mm.T.tolist(), strict=True):
        assert max(mean_adult, *others) < limit_mm.get(joint.split("_")[-1], 70), joint
        assert mean_adult < 40 or degrees, joint  # in a pose the skin near a joint bends, too


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_joints_of_every_skeleton_mirror_each_other(skeleton: Skeleton) -> None:
    joints = torch.stack(list(_rest_keypoints(anny_body(skeleton)).values()))
    mirrored = joints[list(skeleton.mirror)] * torch.tensor([-1.0, 1, 1])
    assert tuple(anny_body(skeleton).rig.joints) == skeleton.joints
    assert (joints - mirrored).norm(dim=-1).max() < 0.006


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_joints_of_the_same_name_coincide_across_skeletons(skeleton: Skeleton) -> None:
    ours = dict(zip(skeleton.canonical_names, _rest_keypoints(anny_body(skeleton)).values(), strict=True))
    for place, other in zip(SMPL24.canonical_names, _rest_keypoints(anny_body(SMPL24)).values(), strict=True):
        if place in ours:
            torch.testing.assert_close(ours[place], other)


def test_limb_lengths_are_plausible() -> None:
    """Fractions of the stature, Drillis & Contini 1966; Anny's upper arms are short (0.156)."""
    joints = _rest_keypoints(anny_body(COCO17))
    height = anny_body().rig.vertices_m[:, 1].max() - anny_body().rig.vertices_m[:, 1].min()
    shares = {
        ("shoulder", "elbow"): 0.186,
        ("elbow", "wrist"): 0.146,
        ("hip", "knee"): 0.245,
        ("knee", "ankle"): 0.246,
    }
    for (upper, lower), share in shares.items():
        length = (joints[f"left_{upper}"] - joints[f"left_{lower}"]).norm()
        assert length / height == pytest.approx(share, abs=0.035), (upper, lower)


def test_trunk_joints_rise_from_pelvis_to_head() -> None:
    for skeleton, order in (
        (H36M17, ("pelvis", "spine", "thorax", "neck_base", "head")),
        (SMPL24, ("pelvis", "spine1", "spine2", "spine3", "neck", "head")),
    ):
        joints = _rest_keypoints(anny_body(skeleton))
        heights = [joints[name][1].item() for name in order]
        assert heights == sorted(heights)
        assert min(b - a for a, b in pairwise(heights)) > 0.05


def test_the_mesh_is_closed_and_faces_outwards() -> None:
    rig = anny_body().rig
    directed = Counter((a, b) for f in rig.faces.tolist() for a, b in (f[:2], f[1:], (f[2], f[0])))
    assert max(directed.values()) == 1
    assert all((b, a) in directed for a, b in directed)
    a, b, c = (rig.vertices_m[rig.faces[:, k]] for k in range(3))
    litres = 1000 * (a * torch.linalg.cross(b, c)).sum() / 6
    assert 50 < litres < 100


def test_joints_that_are_not_on_the_body_are_refused() -> None:
    tail = Skeleton("cat", ("pelvis", "tail"), {"tail": "pelvis"}, ("pelvis", "tail"))
    with pytest.raises(InputError, match="'tail', which isn't defined on the body"):
        anny_body(tail)
