"""How well meshes of hands explain depth: model to data and data to model (Ren et al., CVPR 2022, Eq. 5 and 6).

Distances are in halves of the cube. Everything is differentiable in the vertices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from posebridge.data.cube_views import CubeViews
from posebridge.geometry.closest_point import ClosestPoints
from posebridge.geometry.closest_point_warp import closest_points
from posebridge.geometry.triangles import face_corners
from posebridge.rendering.rasterise_warp import rasterise

ClosestPointSearch = Callable[
    [Tensor, Tensor, Tensor], ClosestPoints
]  # of points' closest ones on meshes, by vertices and faces
_TINY = 1e-12  # under a square root, whose slope is infinite at zero


@dataclass(frozen=True)
class EvidenceConfig:
    """What counts as evidence. The paper gives no numbers; these were chosen on studio renders."""

    num_points: int = 512  # of each view, drawn anew at every step, for data to model
    max_distance: float = 0.4  # a larger difference counts as this one, and pulls at nothing: what else is in the cube
    hole_px: int = 3  # pixels without depth so near to the hand may be holes in it, and say nothing


@dataclass(frozen=True)
class DepthEvidence:
    """What B views saw, made ready to be compared with meshes."""

    views: CubeViews
    points: Float[Tensor, "B 3 H W"]  # in each view's space
    surface: Bool[Tensor, "B H W"]
    reliable: Bool[Tensor, "B H W"]  # surface, or not the hand for sure
    sampled: Float[Tensor, "B P 3"]  # some of the surface's points
    empty: Bool[Tensor, "B"]  # views that see no surface: they have no say

    @classmethod
    def from_views(cls, views: CubeViews, config: EvidenceConfig, generator: Generator) -> "DepthEvidence":
        """Draws the points. Draws are made on the CPU, so that they are the same on every device."""
        points, surface = views.points()
        near = F.max_pool2d(surface[:, None].float(), 2 * config.hole_px + 1, 1, config.hole_px)[:, 0] > 0
        open_to = (views.depth_m > 0) | (views.inside & ~near)  # sight there passes beside the hand, or stops before it
        known = surface | (open_to & ~views.hidden())
        flat = surface.flatten(1)
        blind = ~flat.any(1)
        weights = torch.where(blind[:, None], torch.ones_like(flat), flat).cpu().float()
        chosen = torch.multinomial(weights, config.num_points, replacement=True, generator=generator).to(flat.device)
        drawn = points.flatten(2).gather(2, chosen[:, None].expand(-1, 3, -1)).transpose(1, 2)
        return cls(views, points, surface, known, drawn, blind)

    def take(self, index: Int[Tensor, "n"]) -> "DepthEvidence":
        """The views at the given positions, in that order."""
        parts = (self.points, self.surface, self.reliable, self.sampled, self.empty)
        return DepthEvidence(self.views.take(index), *(part[index] for part in parts))


def model_to_data(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], seen: DepthEvidence, config: EvidenceConfig
) -> Float[Tensor, "B"]:
    """Eq. 5: how far the mesh, as the view would see it, lies from what the view saw; the mean over its pixels.

    Where both see a surface, the difference of depths. Where the mesh alone does, Eq. 5 compares with the far end of
    the cube, which pulls the mesh away from the camera; here its point is drawn to the nearest one that was seen, so
    it comes back over the hand. A mesh that isn't in the picture costs the most there is.
    """
    views = seen.views
    height, width = seen.surface.shape[-2:]
    raster = rasterise(views.in_cameras(vertices), faces, views.camera.K, height, width)
    depth = (raster.depth_m - views.centre_m[:, 2, None, None]) / views.half_m[:, None, None]
    shown = raster.mask & (depth.detach().abs() < 1)  # the picture ends with the cube, before the forearm does
    both, outside = shown & seen.surface, shown & seen.reliable & ~seen.surface
    apart = torch.where(both, depth - torch.where(both, seen.points[:, 2], 0), 0).abs().clamp_max(config.max_distance)
    material = face_corners(vertices, faces, raster.gather(raster.face_index), raster.hit_image)
    material = raster.scatter((raster.gather(raster.barycentric.detach())[..., None] * material).sum(1))
    astray = _to_nearest(material, outside, seen.sampled, config)
    count = both.flatten(1).sum(1) + outside.flatten(1).sum(1)
    total = apart.flatten(1).sum(1) + astray
    return torch.where(seen.empty, 0, torch.where(count > 0, total / count.clamp_min(1), config.max_distance))


def data_to_model(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    seen: DepthEvidence,
    config: EvidenceConfig,
    search: ClosestPointSearch = closest_points,
) -> Float[Tensor, "B"]:
    """Eq. 6: the mean distance from what the view saw to the mesh."""
    nearest = search(seen.sampled, vertices.detach(), faces)
    distance = _length(nearest.positions(vertices, faces) - seen.sampled).clamp_max(config.max_distance)
    return torch.where(seen.empty | ~nearest.valid.all(1), 0, torch.where(nearest.valid, distance, 0).mean(1))


def misfit(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    seen: DepthEvidence,
    config: EvidenceConfig,
    search: ClosestPointSearch = closest_points,
) -> Float[Tensor, "B"]:
    """Eq. 5 and 6 together."""
    return model_to_data(vertices, faces, seen, config) + data_to_model(vertices, faces, seen, config, search)


def _to_nearest(
    material: Float[Tensor, "B H W 3"],
    outside: Bool[Tensor, "B H W"],
    drawn: Float[Tensor, "B P 3"],
    config: EvidenceConfig,
) -> Float[Tensor, "B"]:
    """The sum over pixels outside of the distances from their points to the nearest drawn one."""
    flat = outside.flatten(1)
    most = int(flat.sum(1).max()) if flat.numel() else 0
    if most == 0:
        return material.sum((1, 2, 3)) * 0
    place = flat.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    there = flat.gather(1, place)
    points = material.flatten(1, 2).gather(1, place[..., None].expand(-1, -1, 3))
    with torch.no_grad():
        nearest = torch.cdist(points, drawn).argmin(2)
    goal = drawn.gather(1, nearest[..., None].expand(-1, -1, 3))
    distance = _length(points - goal).clamp_max(config.max_distance)
    return torch.where(there, distance, 0).sum(1)


def _length(vector: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    return (vector.square().sum(-1) + _TINY).sqrt()
