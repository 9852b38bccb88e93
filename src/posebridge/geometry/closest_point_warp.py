"""Closest points on triangle meshes by bounding volume hierarchies and a Warp kernel, on CPU or CUDA.

Same signature and semantics as the readable ``closest_point``, except that any of several equally close faces may be
returned. Faces without area are skipped; where they are part of a surface, their neighbours are equally close.
"""

# Pyright can't check Warp kernels.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAssignmentType=false, reportGeneralTypeIssues=false

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.geometry.closest_point import ClosestPoints
from posebridge.geometry.warp_runtime import launch, numbers, start_warp, vectors

wp.set_module_options({"enable_backward": False})  # gradients come from ``ClosestPoints.positions``

_MAX_DISTANCE = 1e10  # of the search; larger than any distance


@wp.kernel
def _find(
    meshes: wp.array[wp.uint64],
    points: wp.array2d[wp.vec3],
    max_distance: float,
    face_index: wp.array2d[wp.int64],
    barycentric: wp.array2d[wp.vec3],
):
    image, number = wp.tid()
    point = points[image, number]
    if meshes[image] == wp.uint64(0) or not wp.isfinite(point):
        return
    hit = wp.mesh_query_point_no_sign(meshes[image], point, max_distance)
    if hit.result:
        face_index[image, number] = wp.int64(hit.face)
        barycentric[image, number] = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)


class MovingMeshSearch:
    """``closest_points`` for meshes that move from call to call.

    The trees are built once and then refitted, which takes a tenth of the time. Results are the same; the search gets
    slower if meshes move far.
    """

    def __init__(self):
        self._vertices: Tensor | None = None  # shared with the trees
        self._trees: dict[int, wp.Mesh] = {}  # by index of the mesh

    @torch.no_grad()
    def __call__(
        self, points: Float[Tensor, "B P 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
    ) -> ClosestPoints:
        """As ``closest_points``. ``faces`` must be the same in all calls.

        Raises ``ValueError`` if the number of meshes or vertices changes, ``TypeError`` for other than float32.
        """
        if points.dtype != torch.float32 or vertices.dtype != torch.float32:
            raise TypeError(f"points and vertices must be float32, got {points.dtype} and {vertices.dtype}")
        start_warp()
        index = torch.full(points.shape[:2], -1, dtype=torch.int64, device=points.device)
        barycentric = points.new_zeros(points.shape)  # not zeros_like, which takes over the strides of a view
        handles = wp.array(self._handles(vertices, faces), dtype=wp.uint64, device=wp.device_from_torch(points.device))
        inputs = [handles, vectors(points), _MAX_DISTANCE, numbers(index), vectors(barycentric)]
        launch(_find, tuple(index.shape), inputs, points.device)
        return ClosestPoints(index, barycentric)

    def _handles(self, vertices: Tensor, faces: Tensor) -> list[int]:
        """The handle of each mesh's tree; 0 if the mesh isn't finite."""
        if self._vertices is None:
            self._vertices = vertices.clone(memory_format=torch.contiguous_format)
            self._corners = numbers(faces.to(vertices.device, torch.int32).flatten())
        elif self._vertices.shape != vertices.shape:
            raise ValueError(
                f"vertices have shape {tuple(vertices.shape)}, the calls before had {tuple(self._vertices.shape)}: "
                "make a new MovingMeshSearch for other meshes"
            )
        else:
            self._vertices.copy_(vertices)
        finite = vertices.isfinite().flatten(1).all(1).tolist()
        for i in (i for i, usable in enumerate(finite) if usable):
            if i in self._trees:
                self._trees[i].refit()
            else:
                self._trees[i] = wp.Mesh(vectors(self._vertices[i]), self._corners)
        return [self._trees[i].id if usable else 0 for i, usable in enumerate(finite)]


def closest_points(
    points: Float[Tensor, "B P 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
) -> ClosestPoints:
    """The closest face of each point's mesh and the barycentric position on it; see the readable twin.

    Raises ``TypeError`` for other than float32. Memory is linear in points, vertices and faces.
    """
    return MovingMeshSearch()(points, vertices, faces)
