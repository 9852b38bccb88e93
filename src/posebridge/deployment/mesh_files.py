"""Predicted meshes on disk: one ``meshes.npz``, or a ``.ply`` a frame that any 3D viewer opens."""

import io
from pathlib import Path

import numpy as np

from posebridge.contracts.files import write_atomically
from posebridge.deployment.depth_predictor import MeshSet
from posebridge.deployment.predict_config import MeshFormat

MESHES, PLY_FOLDER = "meshes.npz", "meshes"


def save_meshes(meshes: MeshSet, folder: Path, form: MeshFormat) -> set[Path]:
    """Write ``meshes.npz``, or ``meshes/<key>.ply`` for each frame, and return the files that were written.

    The archive has key (N,), vertices_mm (N, V, 3), pixel_joints_mm (N, J, 3), depth_error_mm (N,) and faces (F, 3).
    Camera frame: x right, y down, z forward.
    Raises ``InputError`` where the disk refuses.
    """
    if form == "npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **vars(meshes))
        write_atomically(folder / MESHES, buffer.getvalue())
        return {folder / MESHES}
    if form == "none":
        return set()
    files = [folder / PLY_FOLDER / f"{key}.ply" for key in meshes.key]
    for file, vertices_mm in zip(files, meshes.vertices_mm, strict=True):
        write_atomically(file, ply(vertices_mm, meshes.faces))
    return {*files}


def ply(vertices_mm: np.ndarray, faces: np.ndarray) -> bytes:
    """A mesh in the binary little-endian form of the Polygon File Format; ``vertices_mm`` (V, 3), ``faces`` (F, 3)."""
    header = [
        *("ply", "format binary_little_endian 1.0", "comment millimetres in the camera frame"),
        *(f"element vertex {len(vertices_mm)}", "property float x", "property float y", "property float z"),
        *(f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""),
    ]
    rows = np.empty(len(faces), dtype=[("corners", "u1"), ("of", "<i4", 3)])
    rows["corners"], rows["of"] = 3, faces
    return "\n".join(header).encode() + vertices_mm.astype("<f4").tobytes() + rows.tobytes()
