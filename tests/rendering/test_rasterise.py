import numpy as np
import pytest
import torch

from meshes import cast_rays, icosphere, pinhole, skewed_cameras, soup
from posebridge.rendering.rasterise import rasterise, resolve


def pixel_rays(K, height, width):
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([column, row, torch.ones_like(row)], -1).double()
    return pixels @ torch.linalg.inv(K)[:, None].transpose(-1, -2)  # B H W 3


def test_tilted_plane_has_the_depth_of_the_plane():
    K = skewed_cameras(16, 20)
    normal, distance = torch.tensor([0.3, -0.2, -1.0]).double(), -0.8
    beyond = torch.tensor([[-3, -4, 1], [25, -4, 1], [25, 21, 1], [-3, 21, 1]]).double()  # pixels around the image
    rays = beyond @ torch.linalg.inv(K).transpose(1, 2)
    vertices = rays * (distance / (rays @ normal))[..., None]
    raster = rasterise(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), K, 16, 20)
    assert raster.mask.all()
    torch.testing.assert_close(raster.depth_m, distance / (pixel_rays(K, 16, 20) @ normal), rtol=1e-12, atol=0)


def test_tessellated_sphere_has_the_depth_of_a_sphere():
    points, faces = icosphere(4)
    radius, centre = 0.1, torch.tensor([0.02, -0.01, 0.6]).double()
    K = pinhole(150.0, 48, 48)
    raster = rasterise((points * radius + centre)[None], faces, K, 48, 48)
    rays = pixel_rays(K, 48, 48)
    along, squared = rays @ centre, rays.square().sum(-1)
    discriminant = along**2 - squared * (centre @ centre - radius**2)
    expected = (along - discriminant.clamp_min(0).sqrt()) / squared
    assert (raster.mask <= (discriminant > 0)).all()  # the chords lie inside
    assert (raster.mask != (discriminant > 0)).sum() < 12
    inner = discriminant > 0.3 * discriminant.max()
    sagitta = radius * 0.003  # faces with edges of 0.15 radii are at most edge^2 / 6 below the sphere
    error = (raster.depth_m - expected)[inner]
    assert error.min() > -1e-9
    assert error.max() < 2 * sagitta


@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_ray_casting(seed):
    height, width = 14, 17
    vertices, faces = soup(4, 30, seed)
    K = skewed_cameras(height, width)
    raster = rasterise(vertices, faces, K, height, width)
    assert 0.3 < raster.mask.double().mean() < 1
    for i in range(4):
        face_index, barycentric, depth = cast_rays(vertices[i].numpy(), faces.numpy(), K[i].numpy(), height, width)
        np.testing.assert_array_equal(raster.face_index[i].numpy(), face_index)
        np.testing.assert_allclose(raster.barycentric[i].numpy(), barycentric, atol=1e-9)
        np.testing.assert_allclose(raster.depth_m[i].numpy(), depth, atol=1e-9)


def test_both_sides_of_faces_are_rendered():
    vertices, faces = soup(1, 20, 3)
    K = pinhole(20.0, 20, 20)
    front, back = rasterise(vertices, faces, K, 20, 20), rasterise(vertices, faces.flip(1), K, 20, 20)
    assert torch.equal(front.face_index, back.face_index)
    torch.testing.assert_close(front.depth_m, back.depth_m)


def test_ties_go_to_the_lowest_index():
    vertices, faces = soup(1, 12, 4)
    once = rasterise(vertices, faces, pinhole(20.0, 20, 20), 20, 20)
    twice = rasterise(vertices, torch.cat([faces, faces]), pinhole(20.0, 20, 20), 20, 20)
    assert torch.equal(once.face_index, twice.face_index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shared_edges_leave_no_gap(dtype):
    """A sheet of triangles, shifted by fractions of a pixel, with some edges exactly through pixel centres."""
    side, size = 9, 17
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="xy"), -1).to(dtype).view(-1, 2)
    corner = (torch.arange(side - 1) + side * torch.arange(side - 1)[:, None]).flatten()
    upper = torch.stack([corner, corner + 1, corner + side], 1)
    lower = torch.stack([corner + 1, corner + side + 1, corner + side], 1)
    shift = torch.cat([torch.zeros(1, 1, 2), torch.rand(7, 1, 2, generator=torch.Generator().manual_seed(0)) - 0.5])
    uv = grid * 3 - 3 + shift.to(dtype)
    z = 1 + 0.2 * torch.rand(8, side * side, 1, generator=torch.Generator().manual_seed(1)).to(dtype)
    K = pinhole(1.0, 1, 1, 8).to(dtype)
    raster = rasterise(torch.cat([uv * z, z], -1), torch.cat([upper, lower]), K, size, size)
    assert raster.mask.all()


def test_invisible_and_degenerate_faces_are_skipped():
    K = pinhole(10.0, 8, 8)
    triangle = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [0, 1, 1]]).double()
    bad = torch.stack(
        [
            triangle * torch.tensor([1.0, 1, -1]),  # behind
            triangle - torch.tensor([0.0, 0, 1]),  # in the camera's plane
            torch.cat(
                [triangle[:2], torch.tensor([[0.0, 1, -1]]).double()]
            ),  # through the plane: left out, not clipped
            triangle + torch.tensor([5.0, 0, 0]),  # beside
            triangle * torch.nan,
            triangle[[0, 0, 1]],  # without area
        ]
    )
    faces = torch.arange(18).view(6, 3)
    assert not rasterise(bad.view(1, 18, 3), faces, K, 8, 8).mask.any()
    both = torch.cat([bad.view(18, 3), triangle])[None]
    raster = rasterise(both, torch.cat([faces, torch.tensor([[18, 19, 20]])]), K, 8, 8)
    assert set(raster.face_index.unique().tolist()) == {-1, 6}


def test_no_faces_give_only_background():
    raster = rasterise(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.int64), pinhole(9.0, 3, 4, 2), 3, 4)
    assert raster.face_index.shape == (2, 3, 4)
    assert (raster.face_index == -1).all()
    assert raster.depth_m.abs().sum() == raster.barycentric.abs().sum() == 0


def test_gradients_match_finite_differences():
    vertices, faces = soup(2, 15, 7)
    K = skewed_cameras(9, 10)[2:]
    face_index = rasterise(vertices, faces, K, 9, 10).face_index
    assert (face_index >= 0).sum() > 30

    def depth_and_barycentric(vertices, K):
        raster = resolve(face_index, vertices, faces, K)
        return raster.depth_m, raster.barycentric

    inputs = (vertices.requires_grad_(), K.requires_grad_())
    assert torch.autograd.gradcheck(depth_and_barycentric, inputs, eps=1e-7, atol=1e-4, rtol=1e-4)


def test_rasteriser_is_differentiable_at_fixed_coverage():
    vertices, faces = soup(1, 20, 6)
    K = pinhole(12.0, 12, 12)
    vertices.requires_grad_()
    raster = rasterise(vertices, faces, K, 12, 12)
    move = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plus, minus = (rasterise(vertices.detach() + s * 1e-7 * move, faces, K, 12, 12) for s in (1, -1))
    same = (plus.face_index == raster.face_index) & (minus.face_index == raster.face_index) & raster.mask
    assert same.sum() > 30
    (gradient,) = torch.autograd.grad(raster.depth_m[same].sum(), vertices)
    numeric = ((plus.depth_m - minus.depth_m)[same] / 2e-7).sum()
    torch.testing.assert_close((gradient * move).sum(), numeric, rtol=1e-5, atol=1e-5)
