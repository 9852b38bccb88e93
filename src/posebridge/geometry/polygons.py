"""Batched convex polygons in a plane: point inclusion and nearest points."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from torch import Tensor

_OCTAGON = np.array([[np.cos(a), np.sin(a)] for a in np.pi / 8 + np.pi / 4 * np.arange(8)]) / np.cos(np.pi / 8)
_MIN_WIDTH = 1e-6  # of their extent; narrower point sets have no hull
_TOLERANCE = 1e-6  # points this far outside count as inside, so that a nearest point does


@dataclass(frozen=True)
class Polygons:
    """n polygons of at most E corners, counter-clockwise; the last corner is repeated as padding."""

    corners: Float[Tensor, "n E 2"]

    @classmethod
    def from_points(cls, points: list[NDArray], margin: float, edges: int = 12) -> "Polygons":
        """Polygons around sets of points (N, 2), with a distance of at least ``margin`` to all points."""
        corners = [convex_polygon(point_set, margin, edges) for point_set in points]
        most = max(map(len, corners))
        padded = [np.concatenate([c, np.repeat(c[-1:], most - len(c), axis=0)]) for c in corners]
        return cls(torch.from_numpy(np.stack(padded)))

    def __getitem__(self, index: slice | Tensor) -> "Polygons":
        return Polygons(self.corners[index])

    def inside(self, points: Float[Tensor, "2 n B"]) -> Bool[Tensor, "n B"]:
        """Whether each point lies in its polygon or, up to rounding, on its border."""
        along = self.corners.roll(-1, 1) - self.corners
        length = along.norm(dim=-1, keepdim=True)
        outward = torch.stack([along[..., 1], -along[..., 0]], dim=-1) / torch.where(length > 0, length, 1)
        outward_x, outward_y = outward.unbind(-1)
        x, y = points[:, :, None]
        least = (outward * self.corners).sum(-1)[..., None] + _TOLERANCE
        return (outward_x[..., None] * x + outward_y[..., None] * y <= least).all(1)

    def nearest(self, points: Float[Tensor, "2 n B"]) -> Float[Tensor, "2 n B"]:
        """The nearest point of each polygon; points inside are returned unchanged.

        The gradient is that of the projection onto the nearest edge. Points must be finite.
        """
        start = self.corners.permute(2, 0, 1)[..., None]  # 2 n E 1
        along = self.corners.roll(-1, 1).permute(2, 0, 1)[..., None] - start
        length2 = along.square().sum(0)
        away = points[:, :, None] - start
        share = ((away * along).sum(0) / torch.where(length2 > 0, length2, 1)).clamp(0, 1)
        distance2 = (away - share * along).square().sum(0)
        edge = distance2.argmin(1, keepdim=True)
        feet = start + share * along
        found = feet.gather(2, edge.expand(2, *edge.shape))[:, :, 0]
        return torch.where(self.inside(points), points, found)


def convex_polygon(points: NDArray, margin: float, edges: int = 12) -> NDArray:
    """Corners (E, 2) of a convex polygon that contains points (N, 2), counter-clockwise.

    It is their hull, widened by ``margin`` > 0. Down to ``edges`` edges, the edge is removed whose neighbours, extended
    until they meet, add the least area. So the hull is always contained, and collinear points have a polygon too.
    Raises ``ValueError`` for arguments out of range.
    """
    if not (margin > 0 and edges >= 4 and np.isfinite(points).all() and len(points)):
        raise ValueError(
            f"a polygon needs finite points, a margin above 0 and at least 4 edges, "
            f"got {len(points)} points, margin {margin}, {edges} edges"
        )
    spread = (_extremes(points)[:, None] + margin * _OCTAGON).reshape(-1, 2)
    corners = spread[ConvexHull(spread).vertices]
    while len(corners) > edges:
        corners = _without_an_edge(corners)
    return corners


def _extremes(points: NDArray) -> NDArray:
    """Corners of the hull, or the two ends of collinear points."""
    centred = points.astype(float) - points[0]
    if len(points) > 2:
        axes = np.linalg.svd(centred - centred.mean(0), full_matrices=False)[2]
        along, aside = (centred @ axes.T).T
        if np.ptp(aside) > _MIN_WIDTH * np.ptp(along):
            return points[ConvexHull(centred).vertices]
        return points[[along.argmin(), along.argmax()]]
    return points


def _without_an_edge(corners: NDArray) -> NDArray:
    """The polygon without the cheapest edge, whose two corners are replaced by the meeting point of its neighbours."""
    before, start, end, after = (np.roll(corners, shift, axis=0) for shift in (1, 0, -1, -2))
    into, out = start - before, after - end
    edge = end - start
    turn = _cross(into, out)
    # start + share * into lies on both neighbours; they meet beyond the edge if together they turn by less than pi.
    meets = turn > 0
    share = _cross(edge, out) / np.where(meets, turn, 1)
    corner = start + share[:, None] * into
    area = np.where(meets, np.abs(_cross(edge, corner - start)), np.inf)
    i = int(area.argmin())
    kept = np.roll(corners, -i, axis=0)[2:]  # without start and end
    return np.concatenate([kept, corner[i : i + 1]])


def _cross(a: NDArray, b: NDArray) -> NDArray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
