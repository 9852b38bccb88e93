"""The rig, on a small arm whose poses are known."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posebridge.bodies.rig import Rig


@pytest.fixture
def arm() -> Rig:
    """Two bones of length 1 and 2 along x with a side branch, a vertex at each end, one between; in double."""
    heads = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]], dtype=torch.double)
    vertices = torch.tensor([[0.5, 0.1, 0.0], [1.0, 0.2, 0.1], [3.0, 0.0, 0.3], [0.0, 2.0, 0.0]], dtype=torch.double)
    generator = torch.Generator().manual_seed(0)
    return Rig(
        bones=("upper", "lower", "branch", "end"),
        parents=(-1, 0, 0, 1),
        faces=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        vertices_m=vertices,
        vertex_basis_m=torch.randn(3, 4, 3, generator=generator, dtype=torch.double),
        heads_m=heads,
        head_basis_m=torch.randn(3, 4, 3, generator=generator, dtype=torch.double),
        weights=torch.tensor([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.25, 0, 0.75], [0, 0, 1, 0]], dtype=torch.double),
        joints=("elbow", "middle"),
        keypoint_index=torch.tensor([[1, 0], [4, 6]]),
        keypoint_weight=torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.double),
    )


def _rotations(count: int, seed: int) -> torch.Tensor:
    matrices = Rotation.random(count * 4, random_state=seed).as_matrix()
    return torch.tensor(matrices).view(count, 4, 3, 3)


def test_kinematics_and_skinning_match_a_loop(arm: Rig) -> None:
    coefficients = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    rotations = _rotations(3, seed=2)
    posed = arm.shaped(coefficients).posed(rotations)
    vertices = posed.vertices_m()
    for b in range(3):
        rest = arm.vertices_m.numpy() + np.einsum("s,svc->vc", coefficients[b], arm.vertex_basis_m)
        heads = arm.heads_m.numpy() + np.einsum("s,snc->nc", coefficients[b], arm.head_basis_m)
        transforms = []
        for n, parent in enumerate(arm.parents):
            local = np.eye(4)
            local[:3, :3] = rotations[b, n]
            local[:3, 3] = heads[n] - local[:3, :3] @ heads[n]  # about its head
            transforms.append(local if parent < 0 else transforms[parent] @ local)
        homogeneous = np.concatenate([rest, np.ones((4, 1))], axis=1)
        expected = np.einsum("vn,nij,vj->vi", arm.weights, np.stack(transforms), homogeneous)[:, :3]
        np.testing.assert_allclose(vertices[b], expected, atol=1e-12)
        np.testing.assert_allclose(posed.R_world_rest[b], np.stack(transforms)[:, :3, :3], atol=1e-12)
        np.testing.assert_allclose(
            posed.heads_m[b], [(t @ [*h, 1])[:3] for t, h in zip(transforms, heads, strict=True)], atol=1e-12
        )


def test_a_bent_elbow_by_hand(arm: Rig) -> None:
    rotations = torch.eye(3, dtype=torch.double).repeat(1, 4, 1, 1)
    rotations[:, 1] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # 90 degrees about z
    posed = arm.shaped(torch.zeros(1, 3, dtype=torch.double)).posed(rotations)
    torch.testing.assert_close(posed.heads_m[0, 3], torch.tensor([1.0, 2, 0], dtype=torch.double))
    torch.testing.assert_close(posed.vertices_m()[0, 2], torch.tensor([1.0, 2, 0.3], dtype=torch.double))


def test_keypoints_blend_heads_and_vertices(arm: Rig) -> None:
    posed = arm.shaped(torch.zeros(2, 3, dtype=torch.double)).posed(_rotations(2, seed=3))
    vertices = posed.vertices_m()
    keypoints = posed.keypoints_m(vertices)
    torch.testing.assert_close(keypoints[:, 0], posed.heads_m[:, 1])
    torch.testing.assert_close(keypoints[:, 1], 0.5 * (vertices[:, 0] + vertices[:, 2]))


def test_identity_is_the_rest_mesh(arm: Rig) -> None:
    shaped = arm.shaped(torch.ones(2, 3, dtype=torch.double))
    posed = shaped.posed(torch.eye(3, dtype=torch.double).repeat(2, 4, 1, 1))
    torch.testing.assert_close(posed.vertices_m(), shaped.vertices_m)
    torch.testing.assert_close(posed.heads_m, shaped.heads_m)


def test_gradients_match_finite_differences(arm: Rig) -> None:
    def points(coefficients: torch.Tensor, skew: torch.Tensor) -> torch.Tensor:
        a, b, c = skew.unbind(-1)
        zero = torch.zeros_like(a)
        generator = torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], dim=-1).view(*a.shape, 3, 3)
        posed = arm.shaped(coefficients).posed(torch.linalg.matrix_exp(generator))
        return posed.keypoints_m(posed.vertices_m())

    generator = torch.Generator().manual_seed(4)
    coefficients = torch.randn(2, 3, generator=generator, dtype=torch.double, requires_grad=True)
    skew = torch.randn(2, 4, 3, generator=generator, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(points, (coefficients, skew))


def test_posing_commutes_with_mirroring(arm: Rig) -> None:
    S = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.double))
    coefficients, rotations = torch.ones(1, 3, dtype=torch.double), _rotations(1, seed=5)
    mirrored = arm.mirrored().shaped(coefficients).posed(S @ rotations @ S).vertices_m()
    torch.testing.assert_close(mirrored, arm.shaped(coefficients).posed(rotations).vertices_m() @ S)
    assert arm.mirrored().faces.tolist() == [[2, 1, 0], [3, 2, 0]]


def test_levels_contain_every_bone_once_below_its_parent(arm: Rig) -> None:
    bones = [bones.tolist() for bones, _ in arm.levels]
    assert bones == [[0], [1, 2], [3]]
    above = bones[0]
    for (level, places), listed in zip(arm.levels[1:], bones[1:], strict=True):
        assert [above[i] for i in places.tolist()] == [arm.parents[bone] for bone in level.tolist()]
        above = listed
