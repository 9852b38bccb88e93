"""Distances between hand meshes and measured depth, in both directions (Ren et al., CVPR 2022, Eq. 5 and 6).

Distances are in half sides of the cube. All terms are differentiable in the vertices.
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

# (points, vertices, faces) to the closest points on the meshes
ClosestPointSearch = Callable[[Tensor, Tensor, Tensor], ClosestPoints]
_EPS = 1e-12  # keeps the gradient of a square root finite at zero


@dataclass(frozen=True)
class EvidenceConfig:
    """Sampling and thresholds of the terms. The paper gives no values; these were chosen on studio renders."""

    num_points: int = 512  # sampled per view at every step, for ``data_to_model``
    max_distance: float = (
        0.4  # larger distances are clamped, with zero gradient: they belong to other objects in the cube
    )
    hole_px: int = 3  # pixels without depth this close to the hand may be holes; they are ignored


@dataclass(frozen=True)
class DepthEvidence:
    """Depth of B views, prepared for comparison with meshes."""

    views: CubeViews
    points: Float[Tensor, "B 3 H W"]  # in the normalised cube of each view
    surface: Bool[Tensor, "B H W"]  # pixels of the hand
    reliable: Bool[Tensor, "B H W"]  # surface, or certainly not the hand
    sampled: Float[Tensor, "B P 3"]  # random points of the surface
    empty: Bool[Tensor, "B"]  # views without surface; they contribute nothing

    @classmethod
    def from_views(cls, views: CubeViews, config: EvidenceConfig, generator: Generator) -> "DepthEvidence":
        """Prepares views and samples points, on the CPU so that they are the same on every device."""
        points, surface = views.points()
        near = F.max_pool2d(surface[:, None].float(), 2 * config.hole_px + 1, 1, config.hole_px)[:, 0] > 0
        not_hand = (views.depth_m > 0) | (views.inside & ~near)  # the ray misses the hand or ends before it
        known = surface | (not_hand & ~views.hidden())
        flat = surface.flatten(1)
        empty = ~flat.any(1)
        weights = torch.where(empty[:, None], torch.ones_like(flat), flat).cpu().float()
        chosen = torch.multinomial(weights, config.num_points, replacement=True, generator=generator).to(flat.device)
        sampled = points.flatten(2).gather(2, chosen[:, None].expand(-1, 3, -1)).transpose(1, 2)
        return cls(views, points, surface, known, sampled, empty)

    def take(self, index: Int[Tensor, "n"]) -> "DepthEvidence":
        """The views at the given positions, in that order."""
        parts = (self.points, self.surface, self.reliable, self.sampled, self.empty)
        return DepthEvidence(self.views.take(index), *(part[index] for part in parts))


def model_to_data(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], evidence: DepthEvidence, config: EvidenceConfig
) -> Float[Tensor, "B"]:
    """Mean distance from the visible mesh to the measured depth, over the pixels of the rendered mesh (Eq. 5).

    Where both show a surface, it is the difference of depths. Where only the mesh does, Eq. 5 compares with the back of
    the cube, which pulls the mesh away from the camera. Here it is the distance to the nearest sampled point instead,
    which pulls the mesh back over the hand. A mesh outside the image costs ``config.max_distance``.
    """
    views = evidence.views
    height, width = evidence.surface.shape[-2:]
    raster = rasterise(views.in_cameras(vertices), faces, views.camera.K, height, width)
    depth = (raster.depth_m - views.centre_m[:, 2, None, None]) / views.half_m[:, None, None]
    rendered = raster.mask & (depth.detach().abs() < 1)  # the cube ends before the forearm does
    both, outside = rendered & evidence.surface, rendered & evidence.reliable & ~evidence.surface
    depth_error = (
        torch.where(both, depth - torch.where(both, evidence.points[:, 2], 0), 0).abs().clamp_max(config.max_distance)
    )
    corners = face_corners(vertices, faces, raster.gather(raster.face_index), raster.hit_image)
    mesh_points = raster.scatter((raster.gather(raster.barycentric.detach())[..., None] * corners).sum(1))
    outside_distance = _sum_to_nearest(mesh_points, outside, evidence.sampled, config)
    count = both.flatten(1).sum(1) + outside.flatten(1).sum(1)
    total = depth_error.flatten(1).sum(1) + outside_distance
    return torch.where(evidence.empty, 0, torch.where(count > 0, total / count.clamp_min(1), config.max_distance))


def data_to_model(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    evidence: DepthEvidence,
    config: EvidenceConfig,
    search: ClosestPointSearch = closest_points,
) -> Float[Tensor, "B"]:
    """Mean distance from the sampled points to the mesh (Eq. 6)."""
    nearest = search(evidence.sampled, vertices.detach(), faces)
    distance = _length(nearest.positions(vertices, faces) - evidence.sampled).clamp_max(config.max_distance)
    return torch.where(evidence.empty | ~nearest.valid.all(1), 0, torch.where(nearest.valid, distance, 0).mean(1))


def misfit(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    evidence: DepthEvidence,
    config: EvidenceConfig,
    search: ClosestPointSearch = closest_points,
) -> Float[Tensor, "B"]:
    """The sum of ``model_to_data`` and ``data_to_model`` (Eq. 5 and 6)."""
    return model_to_data(vertices, faces, evidence, config) + data_to_model(vertices, faces, evidence, config, search)


def _sum_to_nearest(
    mesh_points: Float[Tensor, "B H W 3"],
    outside: Bool[Tensor, "B H W"],
    sampled: Float[Tensor, "B P 3"],
    config: EvidenceConfig,
) -> Float[Tensor, "B"]:
    """Sum over the pixels of ``outside`` of the distance from their mesh point to the nearest sampled point."""
    flat = outside.flatten(1)
    most = int(flat.sum(1).max()) if flat.numel() else 0
    if most == 0:
        return mesh_points.sum((1, 2, 3)) * 0
    order = flat.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    valid = flat.gather(1, order)
    points = mesh_points.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, 3))
    with torch.no_grad():
        nearest = torch.cdist(points, sampled).argmin(2)
    target = sampled.gather(1, nearest[..., None].expand(-1, -1, 3))
    distance = _length(points - target).clamp_max(config.max_distance)
    return torch.where(valid, distance, 0).sum(1)


def _length(vector: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    return (vector.square().sum(-1) + _EPS).sqrt()
