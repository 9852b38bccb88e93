"""Reading of regular files, and writing of files whole or not at all."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from posebridge.errors import InputError

_LONGEST_NAME = 50  # characters of a name that its temporary name keeps, as names have at most 255 bytes


def temporary_name(path: Path) -> Path:
    """The hidden file beside ``path`` under which its content is written first."""
    return path.with_name(f".{path.name[:_LONGEST_NAME]}.{os.getpid()}.part")


def json_bytes(content: Any, indent: int | None = 1, allow_nan: bool = True) -> bytes:
    """JSON in UTF-8. Bytes of file names that are no UTF-8, surrogates in Python, become JSON's escapes of these."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return text.encode(errors="backslashreplace")


def read_file(path: Path) -> bytes:
    """The content of a regular file. Raises ``OSError``, also for a device or a pipe, whose reading may never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "a folder, pipe or device, and no file", str(path))
    return path.read_bytes()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it, so that a kill or a full disk leaves the old file whole.

    Creates the folder if it is missing. Raises ``InputError`` for an unwritable folder or a full disk.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
