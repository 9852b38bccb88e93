"""Predicted meshes of many frames, as arrays of numpy. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeshSet:
    """Meshes of N frames, camera frame."""

    key: np.ndarray  # (N,)
    vertices_mm: np.ndarray  # (N, V, 3) float32
    pixel_joints_mm: np.ndarray  # (N, J, 3) float32: joints of the pixel-wise head, which no hand model constrains
    depth_error_mm: np.ndarray  # (N,) median difference of mesh and measurement; NaN where they share no pixel
    faces: np.ndarray  # (F, 3) corners of each face, counter-clockwise as seen from outside

    def __len__(self) -> int:
        return len(self.key)


def join_meshes(parts: Sequence[MeshSet]) -> MeshSet:
    """The meshes of one predictor for several batches as one set."""
    names = ("key", "vertices_mm", "pixel_joints_mm", "depth_error_mm")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return MeshSet(**arrays, faces=parts[0].faces)
