"""Predicted meshes on disk: one ``meshes.npz``, or a ``.ply`` a frame that any 3D viewer opens."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from posebridge.contracts.files import atomic_file, refused_writes, write_atomically
from posebridge.deployment.mesh_set import MeshSet, join_meshes
from posebridge.deployment.predict_config import MeshFormat

MESHES, PLY_FOLDER = "meshes.npz", "meshes"
_COPIED_BYTES = 1 << 20  # at once


class MeshFiles(Protocol):
    """Writes meshes batch by batch, so that their vertices don't stay in memory."""

    def add(self, meshes: MeshSet) -> None:
        """Write the meshes of a batch. Raises ``InputError`` where the disk refuses."""
        ...

    def finish(self) -> set[Path]:
        """Complete the files and return their paths. Raises ``InputError`` where the disk refuses."""
        ...


class PlyMeshes:
    """Writes ``<key>.ply`` into a folder for each frame."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: set[Path] = set()

    def add(self, meshes: MeshSet) -> None:
        """Write a file a mesh. Raises ``InputError`` where the disk refuses."""
        for key, vertices_mm in zip(meshes.key, meshes.vertices_mm, strict=True):
            file = self._folder / f"{key}.ply"
            write_atomically(file, ply(vertices_mm, meshes.faces))
            self._files.add(file)

    def finish(self) -> set[Path]:
        """The files."""
        return self._files


class NpzMeshes:
    """Writes ``meshes.npz`` at the end. Until then, vertices are in a scratch file, 9 KB a frame.

    The archive has key (N,), vertices_mm (N, V, 3), pixel_joints_mm (N, J, 3), depth_error_mm (N,) and faces (F, 3).
    Camera frame: x right, y down, z forward.
    """

    def __init__(self, path: Path, vertices: IO[bytes]):
        """``vertices``: an empty file to write and read."""
        self._path, self._vertices = path, vertices
        self._parts: list[MeshSet] = []  # without vertices

    def add(self, meshes: MeshSet) -> None:
        """Append the meshes of a batch. Raises ``InputError`` where the disk refuses."""
        with refused_writes(self._path):
            self._vertices.write(meshes.vertices_mm.tobytes())
        rows = np.empty((0, *meshes.vertices_mm.shape[1:]), meshes.vertices_mm.dtype)
        faces = self._parts[0].faces if self._parts else meshes.faces
        self._parts.append(replace(meshes, vertices_mm=rows, faces=faces))

    def finish(self) -> set[Path]:
        """Write the archive, compressed; nothing without meshes. Raises ``InputError`` where the disk refuses."""
        if not self._parts:
            return set()
        rest = join_meshes(self._parts)
        with atomic_file(self._path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in vars(rest).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    if name == "vertices_mm":
                        self._copy_vertices(member, (len(rest), *array.shape[1:]), array.dtype)
                    else:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        return {self._path}

    def _copy_vertices(self, member: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Write an array whose header, the number of rows included, is known only now."""
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        self._vertices.seek(0)
        shutil.copyfileobj(self._vertices, member, _COPIED_BYTES)


@contextmanager
def open_meshes(folder: Path, form: MeshFormat) -> Iterator[MeshFiles | None]:
    """The files of a format, None for "none". A scratch file in the folder is removed at the end.

    Raises ``InputError`` where the folder refuses.
    """
    match form:
        case "npz":
            with _scratch_file(folder / MESHES) as vertices:
                yield NpzMeshes(folder / MESHES, vertices)
        case "ply":
            yield PlyMeshes(folder / PLY_FOLDER)
        case "none":
            yield None


@contextmanager
def _scratch_file(path: Path) -> Iterator[IO[bytes]]:
    """An unnamed file beside ``path``, which the system removes even after a kill."""
    with ExitStack() as stack:
        with refused_writes(path):
            file = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        try:
            yield file
        finally:
            with suppress(OSError):  # of a full disk, which ``add`` reports
                file.close()


def save_meshes(meshes: MeshSet, folder: Path) -> None:
    """Write ``meshes.npz``. Raises ``InputError`` where the disk refuses."""
    with open_meshes(folder, "npz") as files:
        assert files is not None
        files.add(meshes)
        files.finish()


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
