"""Reference rasteriser in PyTorch: tests every pixel against every face.

The fast implementation with the same signature is ``rasterise_warp``. Both perform the same floating-point operations
in the same order, so they agree bit for bit in float32.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.geometry.triangles import face_corners
from posebridge.rendering.raster import Raster

NEAR_M = 1e-4  # faces with a vertex in front of this plane or behind the camera are skipped
FAR_PX = 1e8  # faces with a vertex that projects beyond this, or to NaN, are skipped
SMALLEST_AREA_PX2 = 1e-12  # twice the area; barycentrics of smaller faces are noise
_TABLE_SIZE = 1 << 20  # largest table of faces x pixels in memory


def rasterise(
    vertices_m: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], K: Float[Tensor, "B 3 3"], height: int, width: int
) -> Raster:
    """Nearest face, barycentrics and depth at each pixel centre.

    ``vertices_m`` are in the camera frame, metres. ``K`` may be any affine pixel map with last row (0, 0, 1), with
    skew, rotation or mirroring. Faces are two-sided. A pixel centre on an edge belongs to the face. The nearest face
    wins, among equal depths the lowest index. Faces nearer than ``NEAR_M`` are skipped, not clipped. Depth and
    barycentrics are differentiable in ``vertices_m`` and ``K``; the coverage is constant.
    """
    with torch.no_grad():
        screen = project(vertices_m, K)
        face_index = torch.stack([_nearest_faces(mesh, faces, height, width) for mesh in screen])
    return resolve(face_index, vertices_m, faces, K)


def project(vertices_m: Float[Tensor, "B V 3"], K: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B V 3"]:
    """Pixel column, pixel row and 1/z (1/m) of each vertex; 1/z is 0 for vertices whose faces are skipped."""
    x, y, z = vertices_m.unbind(-1)
    ray_x, ray_y = x / z, y / z
    u = K[:, 0, 0, None] * ray_x + K[:, 0, 1, None] * ray_y + K[:, 0, 2, None]
    v = K[:, 1, 0, None] * ray_x + K[:, 1, 1, None] * ray_y + K[:, 1, 2, None]
    usable = (z > NEAR_M) & (u.abs() < FAR_PX) & (v.abs() < FAR_PX)
    return torch.stack([u, v, torch.where(usable, 1 / z, torch.zeros_like(z))], dim=-1)


def edge_functions(
    corners: Float[Tensor, "... 3 3"], u: Float[Tensor, "..."], v: Float[Tensor, "..."]
) -> tuple[Tensor, Tensor, Tensor]:
    """Twice the signed areas, px^2, of the triangles between a pixel centre and the edge opposite to each corner.

    Swapping the ends of an edge negates the value exactly, so there is no gap between faces that share an edge.
    """
    x0, x1, x2 = (corners[..., i, 0] - u for i in range(3))
    y0, y1, y2 = (corners[..., i, 1] - v for i in range(3))
    return x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1


def resolve(
    face_index: Int[Tensor, "B H W"],
    vertices_m: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "B 3 3"],
) -> Raster:
    """Barycentrics and depth for given face indices, differentiable in ``vertices_m`` and ``K``."""
    nothing = vertices_m.new_zeros(face_index.shape)
    hits = Raster(face_index, nothing[..., None].expand(-1, -1, -1, 3), nothing)
    corners_m = face_corners(vertices_m, faces, hits.gather(face_index), hits.hit_image)
    screen = project(corners_m, K[hits.hit_image])
    e0, e1, e2 = edge_functions(screen, *hits.hit_uv_px)
    # Perspective: an attribute divided by z is linear in screen space (Heckbert and Moreton 1991).
    w0, w1, w2 = e0 * screen[:, 0, 2], e1 * screen[:, 1, 2], e2 * screen[:, 2, 2]
    total = w0 + w1 + w2
    barycentric = torch.stack([w0 / total, w1 / total, w2 / total], dim=-1)
    return Raster(face_index, hits.scatter(barycentric), hits.scatter((e0 + e1 + e2) / total))


def _nearest_faces(
    screen: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], height: int, width: int
) -> Int[Tensor, "H W"]:
    """Index of the nearest face at each pixel of one image; -1 on background."""
    row, column = (
        grid.flatten().to(screen) for grid in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    )
    best = torch.full_like(row, torch.inf)
    best_face = torch.full_like(row, -1, dtype=torch.int64)
    step = max(1, _TABLE_SIZE // len(row))
    for start in range(0, len(faces), step):
        corners = screen[faces[start : start + step]][:, None]
        depth = _depth(corners, column, row)  # faces x pixels
        nearest = depth.amin(dim=0)
        first = (depth == nearest).byte().argmax(dim=0)  # argmax gives the first of equals
        closer = nearest < best
        best = torch.where(closer, nearest, best)
        best_face = torch.where(closer, first + start, best_face)
    return best_face.reshape(height, width)


def _depth(corners: Float[Tensor, "F 1 3 3"], u: Float[Tensor, "P"], v: Float[Tensor, "P"]) -> Float[Tensor, "F P"]:
    """Depth of each face at each pixel centre; infinite where the face does not cover it."""
    e0, e1, e2 = edge_functions(corners, u, v)
    w0, w1, w2 = corners[..., 2].unbind(-1)
    one_side = ((e0 >= 0) & (e1 >= 0) & (e2 >= 0)) | ((e0 <= 0) & (e1 <= 0) & (e2 <= 0))
    area = e0 + e1 + e2
    covered = one_side & (area.abs() > SMALLEST_AREA_PX2) & (w0 > 0) & (w1 > 0) & (w2 > 0)
    return torch.where(covered, area / (e0 * w0 + e1 * w1 + e2 * w2), torch.inf)
