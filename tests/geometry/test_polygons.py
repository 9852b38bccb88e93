import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from scipy.spatial import ConvexHull, Delaunay

from posebridge.geometry.polygons import Polygons, convex_polygon


def cloud(seed: int, count: int = 300) -> np.ndarray:
    """Points in a plane, in a shape that depends on the seed."""
    generator = np.random.default_rng(seed)
    shape = generator.normal(size=(2, 2))
    return generator.uniform(-1, 1, (count, 2)) ** 3 @ shape + generator.normal(size=2)


SETS = [cloud(0), cloud(1), np.linspace([0, 0], [1, 2], 20), np.array([[0.3, -0.2]])]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 0.5), st.integers(4, 16))
def test_contains_all_points_with_the_margin_and_few_edges(seed, margin, edges):
    points = cloud(seed)
    corners = convex_polygon(points, margin, edges)
    assert 3 <= len(corners) <= edges
    around = np.linspace(0, 2 * np.pi, 60)
    widened = points[:, None] + margin * np.stack([np.cos(around), np.sin(around)], axis=-1)
    assert (Delaunay(corners).find_simplex(widened.reshape(-1, 2), tol=1e-9) >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_twelve_edges_add_little_area(seed):
    points = cloud(seed)
    corners = convex_polygon(points, 1e-3, 12)
    x, y = corners.T
    area = 0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum()
    assert ConvexHull(points).volume < area < 1.06 * ConvexHull(points).volume


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_points_on_a_line_or_in_one_place_have_a_polygon(count):
    for end in ([0, 0], [1e-9, 0], [2, 1]):
        points = np.array([3.0, -1.0]) + np.linspace([0, 0], end, count)
        corners = convex_polygon(points.astype(np.float32), 0.1)
        assert np.ptp(corners, axis=0).max() < np.ptp(points, axis=0).max() + 0.25
        assert (Delaunay(corners).find_simplex(points) >= 0).all()


def test_points_without_a_hull_are_refused():
    for points, margin, edges in ((cloud(0), 0.0, 12), (cloud(0), 0.1, 3), (cloud(0)[:0], 0.1, 12)):
        with pytest.raises(ValueError, match="points, margin"):
            convex_polygon(points, margin, edges)


def test_inside_matches_a_triangulation():
    polygons = Polygons.from_points(SETS, 0.05)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-2, 2, (2, 4, 2000)))
    expected = [
        Delaunay(np.unique(corners, axis=0)).find_simplex(some.T) >= 0
        for corners, some in zip(polygons.corners.numpy(), points.permute(1, 0, 2).numpy(), strict=True)
    ]
    assert (polygons.inside(points).numpy() == np.stack(expected)).all()
    assert 0 < np.mean(expected) < 1


def test_nearest_points_match_a_quadratic_program():
    polygons = Polygons.from_points(SETS, 0.05)
    points = torch.from_numpy(np.random.default_rng(1).uniform(-3, 3, (2, 4, 12)))
    found = polygons.nearest(points).numpy()
    for n, corners in enumerate(polygons.corners.numpy()):
        hull = ConvexHull(np.unique(corners, axis=0)).equations  # a x + b <= 0
        for k, point in enumerate(points[:, n].T.numpy()):
            best = minimize(
                lambda x, point=point: np.square(x - point).sum(),
                corners.mean(0),
                constraints=LinearConstraint(hull[:, :2], ub=-hull[:, 2]),
                method="SLSQP",
                options={"ftol": 1e-14},
            )
            np.testing.assert_allclose(found[:, n, k], best.x, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearest_points_are_inside_and_stay(dtype):
    polygons = Polygons(Polygons.from_points(SETS, 0.05).corners.to(dtype))
    points = 3 * torch.randn(2, 4, 5000, generator=torch.Generator().manual_seed(0), dtype=dtype)
    found = polygons.nearest(points)
    assert polygons.inside(found).all()
    assert torch.equal(polygons.nearest(found), found)
    inside = polygons.inside(points)
    assert torch.equal(found[:, inside], points[:, inside])
    assert inside.any()
    assert not inside.all()


def test_gradients_match_finite_differences():
    polygons = Polygons.from_points(SETS, 0.05)
    points = 2 * torch.randn(2, 4, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(polygons.nearest, points.requires_grad_())
