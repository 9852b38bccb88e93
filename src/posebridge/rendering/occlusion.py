"""Ambient occlusion and cast shadows of the visible surface."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.rendering.attributes import unit
from posebridge.rendering.raster import Raster

Rasteriser = Callable[[Tensor, Tensor, Tensor, int, int], Raster]

_TAPS = 8  # samples of the depth image around each pixel, on a Vogel spiral
_GRAZING = 0.1  # sine above the tangent plane below which an occluder is the surface itself
_LIGHT_DISTANCE = 20.0  # of the shadow camera, in mesh radii; rays are nearly parallel
_MARGIN_TEXEL = 2.0  # free border of the shadow map
_BIAS_TEXEL = (1.0, 1.5)  # depth bias of a lit point: constant, and per unit of slope
_GRADUAL_TEXEL = (0.5, 6.0)  # depth range over which shadow sets in: facing the light, at the terminator
_TERMINATOR = 0.25  # cosine to the light below which shadow sets in gradually


def ambient_occlusion(
    raster: Raster,
    K: Float[Tensor, "B 3 3"],
    positions_m: Float[Tensor, "B H W 3"],
    normals: Float[Tensor, "B H W 3"],
    radius_m: float = 0.02,
    strength: float = 1.5,
) -> Float[Tensor, "B H W"]:
    """Ambient visibility in [0, 1] from the depth image; 1 is unoccluded, and 1 on background.

    Follows the Alchemy estimator of McGuire et al. 2011: the mean height of nearby points above the tangent plane, with
    a weight that falls to 0 at ``radius_m``. ``positions_m`` and ``normals`` are in the camera frame.
    """
    height, width = raster.face_index.shape[1:]
    u, v = raster.hit_uv_px
    x, y, z = raster.gather(positions_m).unbind(-1)
    nx, ny, nz = raster.gather(normals).unbind(-1)
    to_px, to_ray = _by_hit(raster, K[:, :2]), _by_hit(raster, torch.linalg.inv(K)[:, :2])
    image_start = raster.hit_image * (height * width)
    occluded = torch.zeros_like(z)
    for dx, dy in _spiral(_TAPS):
        tap_u = (u + (to_px[0] * dx + to_px[1] * dy) * radius_m / z).round().clamp(0, width - 1)
        tap_v = (v + (to_px[3] * dx + to_px[4] * dy) * radius_m / z).round().clamp(0, height - 1)
        tap_z = raster.depth_m.flatten().index_select(0, image_start + (tap_v * width + tap_u).long())
        to_x = (to_ray[0] * tap_u + to_ray[1] * tap_v + to_ray[2]) * tap_z - x
        to_y = (to_ray[3] * tap_u + to_ray[4] * tap_v + to_ray[5]) * tap_z - y
        to_z = tap_z - z
        squared = to_x * to_x + to_y * to_y + to_z * to_z
        sine = (to_x * nx + to_y * ny + to_z * nz) * (squared + 1e-12).rsqrt()
        # Background has depth 0, farther than the radius, so its weight is 0.
        occluded = occluded + (sine - _GRAZING).clamp_min(0) * (1 - squared / radius_m**2).clamp_min(0)
    return raster.scatter((1 - strength * 2 / _TAPS * occluded).clamp(0, 1), background=1.0)


@dataclass(frozen=True)
class ShadowMap:
    """Depth of B scenes from one directional light each, in square images of S x S texels."""

    T_light_cam: Float[Tensor, "B 3 4"]  # camera frame in metres -> light frame in mesh radii; a similarity
    depth: Float[Tensor, "B S S"]  # in mesh radii along the light; infinite on background
    direction: Float[Tensor, "B 3"]  # unit, from the surface to the light, camera frame

    @property
    def focal_px(self) -> float:
        """Focal length at which the mesh's bounding sphere fills the map, except for a margin."""
        return _shadow_focal_px(self.depth.shape[-1])


def shadow_map(
    vertices_m: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    direction: Float[Tensor, "B 3"],
    rasteriser: Rasteriser,
    resolution: int = 96,
) -> ShadowMap:
    """Rasterise the mesh from the light.

    ``direction`` is the unit vector from the surface to the light in the camera frame, ``resolution`` the map's side.
    """
    T_light_cam = _look_from(direction, vertices_m)
    vertices_light = vertices_m @ T_light_cam[:, :, :3].transpose(1, 2) + T_light_cam[:, None, :, 3]
    focal, centre = _shadow_focal_px(resolution), (resolution - 1) / 2
    K = vertices_m.new_tensor([[focal, 0, centre], [0, focal, centre], [0, 0, 1]]).expand(len(vertices_m), 3, 3)
    raster = rasteriser(vertices_light, faces, K, resolution, resolution)
    return ShadowMap(T_light_cam, torch.where(raster.mask, raster.depth_m, torch.inf), direction)


def cast_shadow(
    shadow: ShadowMap, raster: Raster, positions_m: Float[Tensor, "B H W 3"], normals: Float[Tensor, "B H W 3"]
) -> Float[Tensor, "B H W"]:
    """Fraction of the light that reaches the surface, in [0, 1]; 1 on background.

    Percentage-closer filtering (Reeves et al. 1987) over 2 x 2 interpolated texels, so a coarser map gives softer
    shadows. Near the terminator, shadow sets in gradually with the depth behind the lit surface. There the cosine law
    already darkens the surface, and subsurface light passes through thin flesh.
    """
    size = shadow.depth.shape[-1]
    n, p = raster.gather(normals), raster.gather(positions_m)
    facing = (n * shadow.direction.index_select(0, raster.hit_image)).sum(-1)
    t = _by_hit(raster, shadow.T_light_cam)
    px, py, pz = p.unbind(-1)
    x, y, z = (t[i] * px + t[i + 1] * py + t[i + 2] * pz + t[i + 3] for i in (0, 4, 8))
    u = shadow.focal_px * x / z + (size - 1) / 2 - 0.5
    v = shadow.focal_px * y / z + (size - 1) / 2 - 0.5
    left, top = u.floor().clamp(0, size - 3), v.floor().clamp(0, size - 3)
    columns, rows = _filter_weights(u - left), _filter_weights(v - top)
    corner = raster.hit_image * (size * size) + (top * size + left).long()
    texel = _LIGHT_DISTANCE / shadow.focal_px
    slope = (1 - facing * facing).clamp_min(0).sqrt() / facing.clamp_min(_TERMINATOR)
    nearest_lit = z - texel * (_BIAS_TEXEL[0] + _BIAS_TEXEL[1] * slope)
    terminator = (1 - facing / _TERMINATOR).clamp(0, 1)
    per_depth = 1 / (texel * (_GRADUAL_TEXEL[0] + terminator * (_GRADUAL_TEXEL[1] - _GRADUAL_TEXEL[0])))
    lit = torch.zeros_like(z)
    for row in range(3):
        for column in range(3):
            depth = shadow.depth.flatten().index_select(0, corner + (row * size + column))
            lit_frac = (1 + (depth - nearest_lit) * per_depth).clamp(0, 1)
            lit = lit + lit_frac * (rows[row] * columns[column])
    return raster.scatter(lit, background=1.0)


def _filter_weights(fraction: Float[Tensor, "N"]) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of three neighbouring texels: the mean of two linear interpolations one texel apart."""
    fraction = fraction.clamp(0, 1)
    return (1 - fraction) / 2, torch.full_like(fraction, 0.5), fraction / 2


def _look_from(direction: Float[Tensor, "B 3"], vertices_m: Float[Tensor, "B V 3"]) -> Float[Tensor, "B 3 4"]:
    """Similarity that scales the mesh's bounding sphere to radius 1 and moves it onto the light's optical axis."""
    low, high = vertices_m.amin(dim=1), vertices_m.amax(dim=1)
    centre = (low + high) / 2
    radius = (vertices_m - centre[:, None]).square().sum(-1).amax(dim=1).sqrt()
    forward = -direction
    sideways = torch.where(
        forward[:, :1].abs() < 0.7, direction.new_tensor([1.0, 0, 0]), direction.new_tensor([0, 1.0, 0])
    )
    down = unit(torch.linalg.cross(forward, sideways))
    right = torch.linalg.cross(down, forward)
    R_light_cam = torch.stack([right, down, forward], dim=1) / radius[:, None, None]
    shift = -(R_light_cam @ centre[..., None])
    shift[:, 2] += _LIGHT_DISTANCE
    return torch.cat([R_light_cam, shift], dim=-1)


def _shadow_focal_px(resolution: int) -> float:
    """Focal length at which a unit sphere at the light's distance fills the map, except for the margin."""
    return (resolution / 2 - _MARGIN_TEXEL) * math.sqrt(_LIGHT_DISTANCE**2 - 1)


def _spiral(count: int) -> list[tuple[float, float]]:
    """Evenly distributed points of the unit disc: Vogel's spiral with the golden angle."""
    golden = math.pi * (3 - math.sqrt(5))
    points = [(math.sqrt((i + 0.5) / count), i * golden) for i in range(count)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in points]


def _by_hit(raster: Raster, matrices: Float[Tensor, "B R C"]) -> Float[Tensor, "E N"]:
    """Entries, in row-major order, of the matrix of each covered pixel's image."""
    return matrices.flatten(1).t().contiguous().index_select(1, raster.hit_image)
