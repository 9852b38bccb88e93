import pytest
import torch
from torch import Tensor

from meshes import icosphere, pinhole
from posebridge.rendering import rasterise_warp
from posebridge.rendering.attributes import normals, positions, unit, vertex_normals
from posebridge.rendering.occlusion import ambient_occlusion, cast_shadow, shadow_map
from posebridge.rendering.raster import Raster
from posebridge.rendering.rasterise import rasterise


def sheet(corners: list[list[float]]) -> tuple[Tensor, Tensor]:
    """A quad of two triangles."""
    return torch.tensor(corners), torch.tensor([[0, 1, 2], [0, 2, 3]])


def joined(*meshes: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One mesh of several, as a batch of one, in float32."""
    start, vertices, faces = 0, [], []
    for points, triangles in meshes:
        vertices.append(points.float())
        faces.append(triangles + start)
        start += len(points)
    return torch.cat(vertices)[None], torch.cat(faces)


def observe(vertices: Tensor, faces: Tensor, size: int, focal: float) -> tuple[Raster, Tensor, Tensor, Tensor]:
    K = pinhole(focal, size, size).float()
    raster = rasterise(vertices, faces, K, size, size)
    return raster, K, positions(raster, K), normals(raster, faces, vertices, vertex_normals(vertices, faces))


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0])
def test_a_plane_is_open(tilt):
    points, faces = sheet([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    vertices, faces = joined((points + torch.tensor([0, 0, 0.5]) + points[:, :1] * torch.tensor([0, 0, tilt]), faces))
    raster, K, where, n = observe(vertices, faces, 64, 140.0)
    openness = ambient_occlusion(raster, K, where, n)
    assert raster.mask.sum() > 1000
    assert openness.min() > 0.99


@pytest.mark.parametrize("size", [64, 128])
def test_a_crease_is_occluded_within_the_radius_only(size):
    """Two planes that meet at a right angle in the line x = 0, open towards the camera."""
    left = sheet([[-0.1, -0.1, 0.4], [-0.1, 0.1, 0.4], [0, 0.1, 0.5], [0, -0.1, 0.5]])
    right = sheet([[0, -0.1, 0.5], [0, 0.1, 0.5], [0.1, 0.1, 0.4], [0.1, -0.1, 0.4]])
    raster, K, where, n = observe(*joined(left, right), size, 2.2 * size)
    openness = ambient_occlusion(raster, K, where, n, radius_m=0.02)
    from_crease = where[..., 0].abs()
    inside = raster.mask & (where[..., 1].abs() < 0.07)
    assert openness[inside & (from_crease > 0.025)].min() > 0.95
    near = openness[inside & (from_crease < 0.004) & (from_crease > 0.001)]
    assert 0.3 < near.mean() < 0.85
    middle = openness[inside & (from_crease > 0.007) & (from_crease < 0.010)].mean()
    assert near.mean() < middle < 1
    assert (openness[~raster.mask] == 1).all()


@pytest.fixture(scope="module")
def screened():
    """A wall at z = 0.6 with a small square 5 cm before it; the light comes from the camera's upper left."""
    wall = sheet([[-0.1, -0.1, 0.6], [0.1, -0.1, 0.6], [0.1, 0.1, 0.6], [-0.1, 0.1, 0.6]])
    square = sheet([[-0.03, -0.03, 0.55], [0.03, -0.03, 0.55], [0.03, 0.03, 0.55], [-0.03, 0.03, 0.55]])
    vertices, faces = joined(wall, square)
    return vertices, faces, unit(torch.tensor([[-0.5, -0.3, -1.0]]))


def test_shadow_falls_where_the_ray_to_the_light_is_blocked(screened):
    vertices, faces, direction = screened
    raster, _, where, n = observe(vertices, faces, 96, 260.0)
    lit = cast_shadow(shadow_map(vertices, faces, direction, rasterise), raster, where, n)
    wall = raster.face_index.lt(2) & raster.mask
    step = 0.05 / -direction[0, 2]  # from the wall to the plane of the square
    through = where + step * direction
    outside = (through[..., :2].abs() - 0.03).amax(-1)  # signed distance to the square's outline
    texel = 2 * (0.1 * 2**0.5 + 0.01) / 92
    assert (wall & (outside < -3 * texel)).sum() > 100
    assert lit[wall & (outside < -3 * texel)].max() < 0.01
    assert lit[wall & (outside > 3 * texel)].min() > 0.99
    assert lit[raster.face_index >= 2].min() > 0.99
    assert lit[~raster.mask].min() == 1
    soft = wall & (outside.abs() < 0.5 * texel)
    assert 0.2 < lit[soft].mean() < 0.8


def test_shadow_does_not_depend_on_the_rasteriser(screened):
    vertices, faces, direction = screened
    maps = [shadow_map(vertices, faces, direction, f, 48) for f in (rasterise, rasterise_warp.rasterise)]
    assert torch.equal(maps[0].depth, maps[1].depth)


@pytest.mark.parametrize("seed", range(3))
def test_a_ball_is_shadowed_on_its_far_side_only(seed):
    points, faces = icosphere(4)
    vertices, faces = joined((points * 0.06 + torch.tensor([0.01, 0.02, 0.5]), faces))
    raster, _, where, n = observe(vertices, faces, 64, 200.0)
    direction = unit(torch.randn(1, 3, generator=torch.Generator().manual_seed(seed)))
    lit = cast_shadow(shadow_map(vertices, faces, direction, rasterise_warp.rasterise), raster, where, n)
    facing = (n * direction).sum(-1)
    assert lit[raster.mask & (facing > 0.2)].min() > 0.99
    assert ((1 - lit) * facing).max() < 0.01  # wrongly missing light, as a fraction of the total
    behind = lit[raster.mask & (facing < -0.7)]
    assert behind.numel() == 0 or behind.max() < 0.1
    assert raster.mask.sum() > 1500


def test_the_map_holds_every_vertex():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(5, 30, 3, generator=generator) * torch.tensor([0.1, 0.02, 0.3]) + torch.tensor([0, 0, 2.0])
    direction = unit(torch.cat([torch.randn(2, 3, generator=generator), torch.eye(3)]))
    faces = torch.arange(30).view(10, 3)
    shadow = shadow_map(vertices, faces, direction, rasterise, 64)
    A = shadow.T_light_cam[:, :, :3]
    scale = torch.linalg.det(A).pow(1 / 3)
    torch.testing.assert_close(A @ A.transpose(1, 2), scale[:, None, None] ** 2 * torch.eye(3), rtol=1e-4, atol=1e-3)
    seen = vertices @ A.transpose(1, 2) + shadow.T_light_cam[:, None, :, 3]
    uv = shadow.focal_px * seen[..., :2] / seen[..., 2:]
    assert uv.abs().max() < 32
    # The light's rays are along its optical axis, so a step towards the light only changes depth.
    step = (A @ direction[..., None])[..., 0] / scale[:, None]
    torch.testing.assert_close(step, torch.tensor([0.0, 0, -1]).expand(5, 3), rtol=0, atol=1e-5)
