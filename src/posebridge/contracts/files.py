"""Files that are either whole or not there at all."""

import contextlib
import os
import zipfile
import zlib
from pathlib import Path

from posebridge.errors import InputError

# What numpy and zipfile raise for an archive of arrays that is damaged, cut off, or something else.
BROKEN_ARCHIVE = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place, then move it there, so that a kill or a full disk leaves the old one whole.

    Creates the folder if need be. Raises ``InputError`` where that fails: unwritable folder, full disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
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
