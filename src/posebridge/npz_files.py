"""Reading of numpy's array files that users give. Nothing in them is run, and declared sizes are checked first."""

import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from posebridge.regular_files import open_file

_MAGIC = b"\x93NUMPY"
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
_ALWAYS_READ, _MOST_EXPANDED = 10**9, 400  # bytes; of the file's size, where zeros alone reach 1000
_LONGEST_HEADER = 10_000  # numpy's own bound
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# The errors of numpy and zipfile for a file that is damaged, cut off, or of another format.
_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class ArrayFileError(ValueError):
    """A file is no file of plain arrays. The message says why, as the end of a sentence about the file."""


def load_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file: those of ``names`` that it holds, or all.

    Raises ``ArrayFileError`` for a file that is no archive, an array of Python objects or records, and one that is cut
    off or larger than half of the memory; ``OSError`` for a missing file.
    """
    with open_file(path) as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            raise ArrayFileError("holds a single array, no archive")
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                wanted = [name for name in (members if names is None else names) if name in members]
                sizes = [_declared_bytes(archive, members[name], name) for name in wanted]
                _check_memory(sum(sizes))
                _check_expansion(sum(sizes), path.stat().st_size)
                return {name: _array(archive, members[name]) for name in wanted}
        except ArrayFileError:
            raise
        except _BROKEN as error:
            raise ArrayFileError("is not a readable .npz file (cut off, perhaps, or another format)") from error


def load_npy(file: BinaryIO) -> np.ndarray:
    """The array in an open ``.npy`` file. Raises ``ArrayFileError`` as ``load_npz`` does."""
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        _check_memory(_declared(file, size, "the array"))
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except ArrayFileError:
        raise
    except _BROKEN as error:
        raise ArrayFileError("is not a readable .npy file (cut off, perhaps, or another format)") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> int:
    with archive.open(member) as file:
        return _declared(file, member.file_size, f"its array {name}")


def _declared(file: IO[bytes], size: int, name: str) -> int:
    """The bytes that an array's header declares. Raises ``ArrayFileError`` unless the file of ``size`` has as many."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ArrayFileError(f"is not plain: {name} has named fields")
    _check_header(file, version, name)
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ArrayFileError("holds Python objects, which are never loaded: save plain arrays")
    if dtype.names is not None or dtype.kind not in "fiubcUSMm":
        raise ArrayFileError(f"is not plain: {name} is of {dtype}")
    declared = math.prod(shape) * dtype.itemsize
    if declared != size - file.tell():
        raise ArrayFileError(
            f"is damaged: {name} of shape {shape} needs {declared:,} bytes and has {size - file.tell():,}"
        )
    return declared


def _check_header(file: IO[bytes], version: tuple[int, int], name: str) -> None:
    """Refuse a header that numpy would read whole before it refuses it: version 2 may declare 4 GB."""
    start = file.tell()
    length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    if length > _LONGEST_HEADER:
        raise ArrayFileError(f"is damaged: {name} declares a header of {length:,} bytes")
    file.seek(start)


def _check_memory(size: int) -> None:
    if size > _memory_bytes() // 2:
        raise ArrayFileError(f"declares {size / 1e9:.3g} GB of arrays, more than half of the memory: split it")


def _check_expansion(size: int, file_bytes: int) -> None:
    if size > _ALWAYS_READ and size > _MOST_EXPANDED * file_bytes:
        raise ArrayFileError(
            f"unpacks from {file_bytes / 1e6:.3g} MB to {size / 1e9:.3g} GB, so it is empty or damaged: save it again"
        )


def _memory_bytes() -> int:
    """The memory of this machine, or of the container where that is less."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(installed, int(_CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no control groups of version 2, or "max"
        return installed
