"""Closest points: both implementations against trimesh, analytic answers, finite differences and each other."""

import math

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from posebridge.bodies.anny import anny_hand
from posebridge.geometry import closest_point, closest_point_warp
from posebridge.geometry.closest_point import ClosestPoints

pytestmark = pytest.mark.usefixtures("one_thread")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
IMPLEMENTATIONS = pytest.mark.parametrize("module", [closest_point, closest_point_warp], ids=["readable", "warp"])
SQUARE = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]])  # in the plane z = 0
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def scattered(vertices: Tensor, count: int, seed: int = 0) -> Tensor:
    """Points around meshes, near to and far from them."""
    generator = torch.Generator().manual_seed(seed)
    low, high = vertices.amin(1, keepdim=True), vertices.amax(1, keepdim=True)
    return (
        low
        + (high - low) * (1.6 * torch.rand(len(vertices), count, 3, generator=generator, dtype=vertices.dtype) - 0.3)
    ).contiguous()


def soup(faces: int, seed: int) -> tuple[Tensor, Tensor]:
    """Triangles anywhere."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3 * faces, 3, generator=generator), torch.arange(3 * faces).view(-1, 3)


def distances(points: Tensor, found: ClosestPoints, vertices: Tensor, faces: Tensor) -> Tensor:
    return (found.positions(vertices, faces) - points).norm(dim=-1)


@IMPLEMENTATIONS
def test_against_trimesh(module):
    vertices, faces = soup(40, 1)
    points = scattered(vertices, 200)
    found = module.closest_points(points, vertices, faces)
    places = found.positions(vertices, faces)
    for i in range(2):
        mesh = trimesh.Trimesh(vertices[i].numpy(), faces.numpy(), process=False)
        expected, far, index = trimesh.proximity.closest_point_naive(mesh, points[i].numpy())
        np.testing.assert_allclose(places[i].numpy(), expected, atol=2e-6)
        np.testing.assert_allclose((places[i] - points[i]).norm(dim=-1).numpy(), far, atol=2e-6)
        assert (found.face_index[i].numpy() == index).mean() > 0.99


@IMPLEMENTATIONS
@pytest.mark.parametrize(
    ("point", "place"),
    [
        ((0.3, 0.2, 0.7), (0.3, 0.2, 0.0)),  # above a face
        ((0.6, -2.0, 0.1), (0.6, 0.0, 0.0)),  # beside an edge
        ((3.0, 4.0, 5.0), (1.0, 1.0, 0.0)),  # beyond a corner
        ((-1.0, 0.5, 0.0), (0.0, 0.5, 0.0)),
        ((0.25, 0.75, 0.0), (0.25, 0.75, 0.0)),  # on it
        ((0.5, 0.5, -1.0), (0.5, 0.5, 0.0)),  # on the edge between two faces
    ],
)
def test_a_square(module, point, place):
    points = torch.tensor([[point]])
    found = module.closest_points(points, SQUARE, HALVES)
    torch.testing.assert_close(found.positions(SQUARE, HALVES)[0, 0], torch.tensor(place), atol=1e-6, rtol=0)
    assert found.barycentric.sum() == pytest.approx(1, abs=1e-6)
    assert found.barycentric.min() >= -1e-6


@pytest.mark.parametrize("device", DEVICES)
def test_both_implementations_agree_on_hands(device):
    rig = anny_hand("right").rig
    coefficients = torch.zeros(2, len(rig.vertex_basis_m))
    vertices = rig.shaped(coefficients).vertices_m * torch.tensor([1.0, 1.3])[:, None, None]
    points = scattered(vertices, 300)
    slow = closest_point.closest_points(points, vertices, rig.faces)
    fast = closest_point_warp.closest_points(points.to(device), vertices.to(device), rig.faces.to(device))
    assert fast.face_index.dtype == slow.face_index.dtype == torch.int64
    there = ClosestPoints(fast.face_index.cpu(), fast.barycentric.cpu())
    far = [distances(points, found, vertices, rig.faces) for found in (slow, there)]
    torch.testing.assert_close(far[0], far[1], atol=1e-6, rtol=1e-5)
    assert (far[0] > 0.01).any()


@IMPLEMENTATIONS
def test_points_and_meshes_may_be_views_of_other_tensors(module):
    vertices, faces = soup(20, 3)
    points = scattered(vertices, 50)
    expected = module.closest_points(points, vertices, faces)
    found = module.closest_points(points.mT.contiguous().mT, vertices.mT.contiguous().mT, faces)
    assert torch.equal(found.face_index, expected.face_index)
    assert torch.equal(found.barycentric, expected.barycentric)


@IMPLEMENTATIONS
def test_points_are_matched_to_the_mesh_of_their_sample(module):
    vertices = torch.cat([SQUARE, SQUARE + torch.tensor([0.0, 0.0, 5.0])])
    points = torch.tensor([[[0.5, 0.2, 4.9]], [[0.5, 0.2, 4.9]]])
    far = distances(points, module.closest_points(points, vertices, HALVES), vertices, HALVES)
    torch.testing.assert_close(far[:, 0], torch.tensor([4.9, 0.1]))


@IMPLEMENTATIONS
def test_gradients_match_finite_differences(module):
    """In float64, with a new search at each step."""
    vertices, faces = soup(12, 3)
    points = scattered(vertices, 25, seed=2)

    def far(moved: Tensor) -> Tensor:
        found = module.closest_points(points, moved.float(), faces)
        exact = ClosestPoints(found.face_index, weights(points.double(), moved, faces, found.face_index))
        return distances(points.double(), exact, moved, faces).sum()

    def weights(points: Tensor, moved: Tensor, faces: Tensor, index: Tensor) -> Tensor:
        with torch.no_grad():
            flat = torch.stack([moved[i, faces[index[i]]] for i in range(len(moved))])
            return torch.stack(
                [
                    torch.stack(
                        [
                            closest_point.nearest_barycentric(p[None, None], c[None])[0, 0]
                            for p, c in zip(ps, cs, strict=True)
                        ]
                    )
                    for ps, cs in zip(points, flat, strict=True)
                ]
            )

    moved = vertices.double().requires_grad_()
    (gradient,) = torch.autograd.grad(far(moved), moved)
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        direction = torch.randn(vertices.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            slope = (far(moved + 1e-5 * direction) - far(moved - 1e-5 * direction)) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)


@IMPLEMENTATIONS
def test_points_that_are_not_finite_have_no_closest_point(module):
    """Gradients of points with a closest point have no NaN."""
    vertices = SQUARE.repeat(3, 1, 1)
    vertices[1, 2, 1] = math.nan
    vertices.requires_grad_()
    points = torch.rand(3, 4, 3, generator=torch.Generator().manual_seed(0))
    points[0, 1, 2] = math.nan
    points[2, 3, 0] = math.inf
    found = module.closest_points(points, vertices, HALVES)
    expected = torch.ones(3, 4, dtype=torch.bool)
    expected[0, 1] = expected[2, 3] = expected[1] = False
    assert torch.equal(found.valid, expected)
    places = found.positions(vertices, HALVES)
    assert places.isfinite().all()
    (places - points.nan_to_num(0, 0, 0))[found.valid].norm(dim=-1).sum().backward()
    assert vertices.grad is not None
    assert vertices.grad.isfinite().all()
    assert (vertices.grad[1] == 0).all()


def test_faces_without_area():
    """Segments and points have their own closest point. (Warp returns that of neighbouring faces.)"""
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 3, 0]]])
    faces = torch.tensor([[0, 1, 2], [3, 3, 3]])
    points = torch.tensor([[[1.3, 0.5, 0.0], [0.1, 2.9, 1.0], [-1.0, 0.0, 0.0]]])
    found = closest_point.closest_points(points, vertices, faces)
    expected = torch.tensor([[[1.3, 0, 0], [0, 3, 0], [0, 0, 0]]])
    torch.testing.assert_close(found.positions(vertices, faces), expected, atol=1e-6, rtol=0)


def test_single_precision_only():
    with pytest.raises(TypeError, match="float32"):
        closest_point_warp.closest_points(SQUARE.double(), SQUARE, HALVES)


@pytest.mark.parametrize("device", DEVICES)
def test_searches_in_moved_meshes_match_new_searches(device):
    """After small steps, after large ones, and after positions that are not finite."""
    vertices, faces = (tensor.to(device) for tensor in soup(60, 5))
    points = scattered(vertices.cpu(), 100).to(device)
    gone = torch.cat([torch.full_like(vertices[:1], math.nan), vertices[1:]])
    search, kept = closest_point_warp.MovingMeshSearch(), vertices.clone()
    for moved in (gone, vertices, vertices + 0.01 * vertices.sin(), gone, 1.5 - vertices.flip(2)):
        found, new = search(points, moved, faces), closest_point_warp.closest_points(points, moved, faces)
        assert torch.equal(found.valid, new.valid)
        torch.testing.assert_close(*(distances(points, each, moved, faces) for each in (found, new)), equal_nan=True)
    assert torch.equal(vertices, kept)  # whose memory the search doesn't share


def test_searches_need_the_same_number_of_meshes():
    search = closest_point_warp.MovingMeshSearch()
    search(torch.zeros(1, 1, 3), SQUARE, HALVES)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 3\), the calls before had \(1, 4, 3\)"):
        search(torch.zeros(2, 1, 3), SQUARE.repeat(2, 1, 1), HALVES)
