import numpy as np
import pytest
import torch

from meshes import bumpy_spheres, icosphere, pinhole, skewed_cameras, soup
from posebridge.cameras.pinhole import Camera
from posebridge.rendering.attributes import interpolate, normals, positions, unit, vertex_normals
from posebridge.rendering.rasterise import rasterise


@pytest.fixture(scope="module")
def scene():
    vertices, faces = soup(4, 25, 0)
    K = skewed_cameras(15, 18)
    return vertices, faces, K, rasterise(vertices, faces, K, 15, 18)


def test_positions_agree_with_the_camera(scene):
    _, _, K, raster = scene
    row, column = torch.meshgrid(torch.arange(15.0), torch.arange(18.0), indexing="ij")
    uv = torch.stack([column, row], -1).view(1, -1, 2).double().expand(4, -1, 2)
    expected = Camera(K).unproject(uv, raster.depth_m.flatten(1)).view(4, 15, 18, 3)
    torch.testing.assert_close(positions(raster, K), expected)


def test_interpolated_vertices_are_the_points_seen(scene):
    vertices, faces, K, raster = scene
    torch.testing.assert_close(interpolate(raster, faces, vertices), positions(raster, K), rtol=1e-9, atol=1e-9)


def test_attributes_may_be_shared_by_the_batch(scene):
    vertices, faces, _, raster = scene
    shared = torch.rand(1, vertices.shape[1], 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = interpolate(raster, faces, shared)
    torch.testing.assert_close(values, interpolate(raster, faces, shared.expand(4, -1, -1)))
    assert (values[~raster.mask] == 0).all()
    assert (values[raster.mask] > 0).all()


def test_gradients_reach_attributes_and_vertices(scene):
    vertices, faces, K, raster = scene
    colours = torch.rand(1, vertices.shape[1], 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf, colour = vertices.clone().requires_grad_(), colours.clone().requires_grad_()
    values = interpolate(rasterise(leaf, faces, K, 15, 18), faces, colour)
    generator = torch.Generator().manual_seed(2)
    move = torch.randn(vertices.shape, generator=generator, dtype=torch.float64)
    tint = torch.randn(colours.shape, generator=generator, dtype=torch.float64)
    rasters = [rasterise(vertices + s * 1e-7 * move, faces, K, 15, 18) for s in (1, -1)]
    same = (rasters[0].face_index == raster.face_index) & (rasters[1].face_index == raster.face_index)
    plus, minus = (
        interpolate(r, faces, colours + s * 1e-7 * tint)[same].sum() for r, s in zip(rasters, (1, -1), strict=True)
    )
    by_vertex, by_colour = torch.autograd.grad(values[same].sum(), (leaf, colour))
    torch.testing.assert_close(
        (by_vertex * move).sum() + (by_colour * tint).sum(), (plus - minus) / 2e-7, rtol=1e-5, atol=1e-5
    )


def test_vertex_normals_of_a_sphere_point_outward():
    points, faces = icosphere(4)
    two = torch.stack([points, points * 0.3 + torch.tensor([1.0, 2, 3])])
    torch.testing.assert_close(vertex_normals(two, faces), points.expand(2, -1, -1), rtol=0, atol=0.01)


def test_vertex_normals_agree_with_a_loop_over_faces():
    vertices, faces = bumpy_spheres(2)
    vertices = torch.cat([vertices, torch.ones(2, 1, 3)], 1)  # one vertex without a face
    for mesh, actual in zip(vertices.double().numpy(), vertex_normals(vertices, faces).numpy(), strict=True):
        expected = np.zeros_like(mesh)
        for a, b, c in faces.numpy():
            expected[[a, b, c]] += np.cross(mesh[b] - mesh[a], mesh[c] - mesh[a])
        expected[:-1] /= np.linalg.norm(expected[:-1], axis=1, keepdims=True)
        np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_normals_of_a_sphere_are_radial_for_both_windings():
    points, faces = icosphere(4)
    centre = torch.tensor([0.03, -0.02, 0.7]).double()
    vertices, K = (points * 0.1 + centre)[None], pinhole(120.0, 40, 40)
    for winding in (faces, faces.flip(1)):
        raster = rasterise(vertices, winding, K, 40, 40)
        seen = normals(raster, winding, vertices, vertex_normals(vertices, winding))
        radial = unit(positions(raster, K) - centre)
        torch.testing.assert_close(seen[raster.mask], radial[raster.mask], rtol=0, atol=0.01)
        assert (seen[~raster.mask] == 0).all()


def test_unit_keeps_zero_and_scales_the_rest():
    vectors = torch.tensor([[0.0, 0, 0], [3, 0, 4], [1e-12, 0, 0]])
    torch.testing.assert_close(unit(vectors), torch.tensor([[0.0, 0, 0], [0.6, 0, 0.8], [1, 0, 0]]))
