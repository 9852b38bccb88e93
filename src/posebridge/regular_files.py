"""Reading of regular files alone: a pipe, a socket or a device may never end."""

import errno
from io import BufferedReader
from pathlib import Path


def check_regular(path: Path) -> None:
    """Raise ``OSError`` for a folder, a pipe, a socket or a device. A missing file passes."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, absence(path), str(path))


def absence(path: Path) -> str:
    """Why a path is no regular file, for errors."""
    return "a folder, pipe or device, and no file" if path.exists() else "no such file"


def open_file(path: Path) -> BufferedReader:
    """A regular file, open for reading. Raises ``OSError`` as ``check_regular`` does, and for a missing file."""
    check_regular(path)
    return path.open("rb")


def read_file(path: Path) -> bytes:
    """The content of a regular file. Raises ``OSError`` as ``open_file`` does."""
    with open_file(path) as file:
        return file.read()
