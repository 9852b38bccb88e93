"""Attributes of the visible surface: interpolated vertex attributes, normals, positions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from posebridge.rendering.raster import Raster


def interpolate(
    raster: Raster, faces: Int[Tensor, "F 3"], attributes: Float[Tensor, "#B V C"]
) -> Float[Tensor, "B H W C"]:
    """Vertex attributes at each pixel, perspective-correct; 0 on background.

    Differentiable in the attributes and, through the barycentrics, in the rasterised vertices.
    """
    return raster.scatter(_at_hits(raster, faces, attributes))


def vertex_normals(vertices_m: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "B V 3"]:
    """Unit normals of the vertices: area-weighted sums of the adjacent faces' normals; 0 at vertices without a face.

    The orientation follows the right-hand rule: outward for the meshes of ``bodies``. Mirrored vertices need mirrored
    faces.
    """
    batch, vertices = vertices_m.shape[:2]
    face_normals = _face_normals(vertices_m, faces)
    sums = face_normals.new_zeros(vertices, 3, batch)
    for corner in faces.long().unbind(1):
        sums = sums.index_add_(0, corner, face_normals)
    return unit(sums.permute(2, 0, 1))


def normals(
    raster: Raster,
    faces: Int[Tensor, "F 3"],
    vertices_m: Float[Tensor, "B V 3"],
    vertex_normals: Float[Tensor, "B V 3"],
) -> Float[Tensor, "B H W 3"]:
    """Interpolated unit normals in the camera frame; 0 on background.

    Normals of back faces (in open meshes) are negated to belong to the visible side. Near the silhouette, interpolated
    normals may still point slightly away from the camera.
    """
    with torch.no_grad():
        # A face is a back face if its normal and the ray to its corner have a positive dot product.
        first_corner = vertices_m.index_select(1, faces[:, 0]).permute(1, 2, 0)
        side = 1 - 2 * ((_face_normals(vertices_m, faces) * first_corner).sum(1) > 0).to(vertices_m)  # F B
        side = side.flatten().index_select(0, raster.gather(raster.face_index) * len(vertices_m) + raster.hit_image)
    return raster.scatter(unit(_at_hits(raster, faces, vertex_normals)) * side[:, None])


def positions(raster: Raster, K: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B H W 3"]:
    """Points of the visible surface in the camera frame, in metres; 0 on background."""
    u, v = raster.hit_uv_px
    inverse = torch.linalg.inv(K)[raster.hit_image]
    depth_m = raster.gather(raster.depth_m)
    x, y = (inverse[:, i, 0] * u + inverse[:, i, 1] * v + inverse[:, i, 2] for i in range(2))
    return raster.scatter(torch.stack([x * depth_m, y * depth_m, depth_m], dim=-1))


def unit(vectors: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """Normalise vectors; 0 stays 0. Several times faster than a reduction over a dimension of size 3."""
    x, y, z = vectors.unbind(-1)
    squared = (x * x + y * y + z * z).clamp_min(torch.finfo(vectors.dtype).tiny)
    return vectors * squared.rsqrt()[..., None]


def _at_hits(raster: Raster, faces: Tensor, attributes: Tensor) -> Float[Tensor, "N C"]:
    """Vertex attributes interpolated at the covered pixels."""
    corner = faces.index_select(0, raster.gather(raster.face_index))
    if len(attributes) > 1:
        corner = corner + (raster.hit_image * attributes.shape[1])[:, None]
    weights = raster.gather(raster.barycentric)
    return F.embedding_bag(corner, attributes.flatten(0, 1), mode="sum", per_sample_weights=weights)


def _face_normals(vertices_m: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3 B"]:
    """Face normals with length twice the area. The batch comes last, so that gathers copy whole rows."""
    by_vertex = vertices_m.permute(1, 2, 0).contiguous()
    a, b, c = (by_vertex.index_select(0, corner) for corner in faces.unbind(1))
    (x1, y1, z1), (x2, y2, z2) = (b - a).unbind(1), (c - a).unbind(1)
    return torch.stack([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2], dim=1)
