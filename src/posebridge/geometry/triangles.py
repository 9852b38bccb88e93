"""Corner positions of the faces of batched meshes."""

from jaxtyping import Float, Int
from torch import Tensor


def face_corners(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    face_index: Int[Tensor, "N"],
    mesh_index: Int[Tensor, "N"],
) -> Float[Tensor, "N 3 3"]:
    """Corner positions of N faces, differentiable in the vertices.

    Face n is ``faces[face_index[n]]`` of mesh ``mesh_index[n]``; all meshes share ``faces``.
    """
    corner = faces[face_index] + (mesh_index * vertices.shape[1])[:, None]
    return vertices.flatten(0, 1).index_select(0, corner.flatten()).unflatten(0, (-1, 3))
