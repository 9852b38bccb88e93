"""The fast search for closest points: a tree of boxes a mesh, asked by a Warp kernel on CPU or CUDA.

Same signature and semantics as the readable ``closest_point``, up to which of two equally near faces is told. Faces
without area are passed over; where they belong to a surface, their neighbours are as near.
"""

# Kernels are written in Warp's dialect of Python, which a type checker for Python can't follow.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAssignmentType=false, reportGeneralTypeIssues=false

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from posebridge.geometry.closest_point import ClosestPoints
from posebridge.geometry.warp_runtime import launch, numbers, start_warp, vectors

wp.set_module_options({"enable_backward": False})  # gradients come from ``ClosestPoints.positions``

_FAR = 1e10  # farther than any point


@wp.kernel
def _find(
    meshes: wp.array[wp.uint64],
    points: wp.array2d[wp.vec3],
    far: float,
    face_index: wp.array2d[wp.int64],
    barycentric: wp.array2d[wp.vec3],
):
    image, number = wp.tid()
    point = points[image, number]
    if meshes[image] == wp.uint64(0) or not wp.isfinite(point):
        return
    found = wp.mesh_query_point_no_sign(meshes[image], point, far)
    if found.result:
        face_index[image, number] = wp.int64(found.face)
        barycentric[image, number] = wp.vec3(found.u, found.v, 1.0 - found.u - found.v)


class MovingMeshSearch:
    """``closest_points`` for meshes that move from call to call: the trees around them are built once.

    Afterwards their boxes are fitted to where the meshes are, which takes a tenth of the time. What is found is the
    same, but around meshes that have moved far it is found more slowly.
    """

    def __init__(self):
        self._vertices: Tensor | None = None  # shared with the trees
        self._trees: dict[int, wp.Mesh] = {}  # of meshes that have been finite

    @torch.no_grad()
    def __call__(
        self, points: Float[Tensor, "B P 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
    ) -> ClosestPoints:
        """As ``closest_points``. ``faces`` are the same in all calls, and so are the numbers of meshes and vertices:
        raises ``ValueError`` for others.
        """
        if points.dtype != torch.float32 or vertices.dtype != torch.float32:
            raise TypeError(f"float32 is needed, got points of {points.dtype} and vertices of {vertices.dtype}")
        start_warp()
        index = torch.full(points.shape[:2], -1, dtype=torch.int64, device=points.device)
        barycentric = points.new_zeros(points.shape)  # not zeros_like, which takes over the strides of a view
        handles = wp.array(self._around(vertices, faces), dtype=wp.uint64, device=wp.device_from_torch(points.device))
        inputs = [handles, vectors(points), _FAR, numbers(index), vectors(barycentric)]
        launch(_find, tuple(index.shape), inputs, points.device)
        return ClosestPoints(index, barycentric)

    def _around(self, vertices: Tensor, faces: Tensor) -> list[int]:
        """A handle of each mesh's tree; 0 where the mesh isn't finite."""
        if self._vertices is None:
            self._vertices = vertices.clone(memory_format=torch.contiguous_format)
            self._corners = numbers(faces.to(vertices.device, torch.int32).flatten())
        elif self._vertices.shape != vertices.shape:
            raise ValueError(f"a search in meshes {tuple(self._vertices.shape)} was given {tuple(vertices.shape)}")
        else:
            self._vertices.copy_(vertices)
        finite = vertices.isfinite().flatten(1).all(1).tolist()
        for place in (place for place, usable in enumerate(finite) if usable):
            if place in self._trees:
                self._trees[place].refit()
            else:
                self._trees[place] = wp.Mesh(vectors(self._vertices[place]), self._corners)
        return [self._trees[place].id if usable else 0 for place, usable in enumerate(finite)]


def closest_points(
    points: Float[Tensor, "B P 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
) -> ClosestPoints:
    """The nearest face of each point's mesh, and where on it; see the readable twin for what is promised.

    Takes float32 only (raises ``TypeError`` otherwise). Memory is linear in points, vertices and faces.
    """
    return MovingMeshSearch()(points, vertices, faces)
