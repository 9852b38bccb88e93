"""Closest points on triangle meshes: the readable way, in which every point is tried against every face.

Its fast twin with the same signature is ``closest_point_warp``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.geometry.triangles import face_corners

_TABLE_SIZE = 1 << 20  # largest table of points x faces held at once


@dataclass(frozen=True)
class ClosestPoints:
    """For each of P points the nearest place on its mesh."""

    face_index: Int[Tensor, "B P"]  # int64; -1 where the point or its mesh isn't finite
    barycentric: Float[Tensor, "B P 3"]  # weights of the face's corners; 0 there

    @property
    def valid(self) -> Bool[Tensor, "B P"]:
        """Which points have one."""
        return self.face_index >= 0

    def positions(self, vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B P 3"]:
        """The places, differentiable in the vertices; 0 where there is none.

        Their distances to the points have the right gradients, though faces and weights are held fixed: those are
        where the distance is smallest, so moving them changes nothing to first order.
        """
        mesh = torch.arange(len(vertices), device=vertices.device)[:, None].expand_as(self.face_index)
        corners = face_corners(vertices, faces, self.face_index.clamp_min(0).flatten(), mesh.flatten())
        corners = corners.view(*self.barycentric.shape, 3)
        # A mesh that isn't finite has no say: its places would be NaN, and so would gradients of a masked loss.
        corners = torch.where(self.valid[..., None, None], corners, 0)
        return (self.barycentric[..., None] * corners).sum(2)


@torch.no_grad()
def closest_points(
    points: Float[Tensor, "B P 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
) -> ClosestPoints:
    """The nearest face of each point's mesh, and where on it, in any unit.

    Among faces that are equally near the lowest index wins. Memory is that of a table of bounded size.
    """
    index = torch.full(points.shape[:2], -1, dtype=torch.int64, device=points.device)
    barycentric = torch.zeros_like(points)
    usable = points.isfinite().all(-1) & vertices.isfinite().flatten(1).all(1)[:, None]
    for image, corners in enumerate(vertices[:, faces]):
        rows = usable[image].nonzero()[:, 0]
        for part in rows.split(max(1, _TABLE_SIZE // max(1, len(faces)))):
            weights = nearest_barycentric(points[image, part, None], corners)
            places = (weights[..., None] * corners).sum(2)
            nearest = (places - points[image, part, None]).square().sum(-1).argmin(1)
            index[image, part] = nearest
            barycentric[image, part] = weights[torch.arange(len(part)), nearest]
    return ClosestPoints(index, barycentric)


def nearest_barycentric(point: Float[Tensor, "P 1 3"], corners: Float[Tensor, "F 3 3"]) -> Float[Tensor, "P F 3"]:
    """Barycentric weights of the place of each triangle that is nearest to each point.

    By the regions of a triangle's corners, edges and inside (Ericson, Real-Time Collision Detection, 2005, 5.1.5).
    Triangles without area are met at one of their corners or edges.
    """
    a, b, c = corners.unbind(1)
    ab, ac = b - a, c - a
    d1, d2 = ((point - a) * ab).sum(-1), ((point - a) * ac).sum(-1)
    d3, d4 = ((point - b) * ab).sum(-1), ((point - b) * ac).sum(-1)
    d5, d6 = ((point - c) * ab).sum(-1), ((point - c) * ac).sum(-1)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    zero, one = torch.zeros_like(va), torch.ones_like(va)
    along_ab, along_ac = _share(d1, d1 - d3), _share(d2, d2 - d6)
    along_bc = _share(d4 - d3, (d4 - d3) + (d5 - d6))
    total = va + vb + vc
    inside = torch.stack([va, vb, vc], -1) / torch.where(total == 0, one, total)[..., None]
    regions = (  # the first that holds
        ((d1 <= 0) & (d2 <= 0), (one, zero, zero)),
        ((d3 >= 0) & (d4 <= d3), (zero, one, zero)),
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), (1 - along_ab, along_ab, zero)),
        ((d6 >= 0) & (d5 <= d6), (zero, zero, one)),
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), (1 - along_ac, zero, along_ac)),
        ((va <= 0) & (d4 >= d3) & (d5 >= d6), (zero, 1 - along_bc, along_bc)),
    )
    weights = inside
    for holds, at in reversed(regions):
        weights = torch.where(holds[..., None], torch.stack(at, -1), weights)
    return weights


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return part / torch.where(whole == 0, torch.ones_like(whole), whole)
