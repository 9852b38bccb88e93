"""Closest points on triangle meshes: the readable implementation, which tests every point against every face.

The fast twin with the same signature is ``closest_point_warp``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.geometry.triangles import face_corners

_TABLE_SIZE = 1 << 20  # largest table of points x faces in memory


@dataclass(frozen=True)
class ClosestPoints:
    """The closest point on its mesh for each of P points."""

    face_index: Int[Tensor, "B P"]  # int64; -1 if the point or its mesh isn't finite
    barycentric: Float[Tensor, "B P 3"]  # weights of the face's corners; 0 if there is none

    @property
    def valid(self) -> Bool[Tensor, "B P"]:
        """Points that have a closest point."""
        return self.face_index >= 0

    def positions(self, vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B P 3"]:
        """Positions of the closest points, differentiable in the vertices; 0 if there is none.

        Faces and weights are constants. Distances to the points still have exact gradients: the weights minimise the
        distance, so their change has no first-order effect.
        """
        mesh = torch.arange(len(vertices), device=vertices.device)[:, None].expand_as(self.face_index)
        corners = face_corners(vertices, faces, self.face_index.clamp_min(0).flatten(), mesh.flatten())
        corners = corners.view(*self.barycentric.shape, 3)
        # Positions on a mesh that isn't finite would be NaN, and so would the gradients of a masked loss.
        corners = torch.where(self.valid[..., None, None], corners, 0)
        return (self.barycentric[..., None] * corners).sum(2)


@torch.no_grad()
def closest_points(
    points: Float[Tensor, "B P 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
) -> ClosestPoints:
    """The closest face of each point's mesh and the barycentric position on it, in any unit.

    Of equally close faces the one with the lowest index is taken. Memory is bounded.
    """
    face_index = torch.full(points.shape[:2], -1, dtype=torch.int64, device=points.device)
    barycentric = torch.zeros_like(points)
    usable = points.isfinite().all(-1) & vertices.isfinite().flatten(1).all(1)[:, None]
    for image, corners in enumerate(vertices[:, faces]):
        rows = usable[image].nonzero()[:, 0]
        for part in rows.split(max(1, _TABLE_SIZE // max(1, len(faces)))):
            weights = nearest_barycentric(points[image, part, None], corners)
            candidates = (weights[..., None] * corners).sum(2)
            nearest = (candidates - points[image, part, None]).square().sum(-1).argmin(1)
            face_index[image, part] = nearest
            barycentric[image, part] = weights[torch.arange(len(part)), nearest]
    return ClosestPoints(face_index, barycentric)


def nearest_barycentric(point: Float[Tensor, "P 1 3"], corners: Float[Tensor, "F 3 3"]) -> Float[Tensor, "P F 3"]:
    """Barycentric weights of the point of each triangle that is closest to each point.

    By the Voronoi regions of corners, edges and interior (Ericson, Real-Time Collision Detection, 2005, 5.1.5). For
    triangles without area it lies on a corner or an edge.
    """
    a, b, c = corners.unbind(1)
    ab, ac = b - a, c - a
    d1, d2 = ((point - a) * ab).sum(-1), ((point - a) * ac).sum(-1)
    d3, d4 = ((point - b) * ab).sum(-1), ((point - b) * ac).sum(-1)
    d5, d6 = ((point - c) * ab).sum(-1), ((point - c) * ac).sum(-1)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    zero, one = torch.zeros_like(va), torch.ones_like(va)
    along_ab, along_ac = _ratio(d1, d1 - d3), _ratio(d2, d2 - d6)
    along_bc = _ratio(d4 - d3, (d4 - d3) + (d5 - d6))
    total = va + vb + vc
    inside = torch.stack([va, vb, vc], -1) / torch.where(total == 0, one, total)[..., None]
    regions = (  # the first true condition selects the weights
        ((d1 <= 0) & (d2 <= 0), (one, zero, zero)),
        ((d3 >= 0) & (d4 <= d3), (zero, one, zero)),
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), (1 - along_ab, along_ab, zero)),
        ((d6 >= 0) & (d5 <= d6), (zero, zero, one)),
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), (1 - along_ac, zero, along_ac)),
        ((va <= 0) & (d4 >= d3) & (d5 >= d6), (zero, 1 - along_bc, along_bc)),
    )
    weights = inside
    for condition, values in reversed(regions):
        weights = torch.where(condition[..., None], torch.stack(values, -1), weights)
    return weights


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return numerator / torch.where(denominator == 0, torch.ones_like(denominator), denominator)
