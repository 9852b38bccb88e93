"""Writing of files whole or not at all."""

import contextlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from posebridge.errors import InputError

_UNFINISHED = re.compile(r"\.(?P<name>.+)\.(?P<process>\d{1,9})\.part")
_NAME_BYTES = 200  # of a file's name in that of its temporary file; file systems allow 255 in all


def temporary_name(path: Path) -> Path:
    """The hidden file beside ``path`` under which its content is written first."""
    return path.with_name(f".{_short_name(path)}.{os.getpid()}.part")


def prepare_folder(path: Path) -> None:
    """Create the folder of a file, and remove the temporary files of it that killed processes have left there.

    Raises ``OSError`` for an unwritable folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in _unfinished(path.parent.absolute()).pop(_short_name(path), ()):
        unfinished.unlink(missing_ok=True)


def json_bytes(content: Any, indent: int | None = 1, allow_nan: bool = True) -> bytes:
    """JSON in UTF-8. Bytes of file names that are no UTF-8, surrogates in Python, become JSON's escapes of these."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return text.encode(errors="backslashreplace")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file as ``atomic_file`` does. Raises ``InputError`` for an unwritable folder or a full disk."""
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write under a temporary name, then renamed, so that a kill or a full disk leaves the old file whole.

    Prepares the folder as ``prepare_folder`` does. Raises ``InputError`` for an unwritable folder or a full disk.
    """
    temporary = temporary_name(path)
    try:
        with refused_writes(path):
            prepare_folder(path)
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def refused_writes(path: Path) -> Iterator[None]:
    """Raise ``InputError`` where the system refuses to write the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error


def _short_name(path: Path) -> str:
    name = path.name
    while len(os.fsencode(name)) > _NAME_BYTES:
        name = name[:-1]
    return name


@lru_cache(maxsize=64)  # each folder is listed once, since a folder of overlays has many thousands of files
def _unfinished(folder: Path) -> dict[str, list[Path]]:
    """Temporary files of killed processes by the name of the file that they were to become."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in folder.iterdir():
        match = _UNFINISHED.fullmatch(file.name)
        if match is not None and not _is_running(int(match["process"])):
            found[match["name"]].append(file)
    return found


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
