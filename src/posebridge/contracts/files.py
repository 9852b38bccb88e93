"""Writing of files whole or not at all."""

import contextlib
import os
import zipfile
import zlib
from pathlib import Path

from posebridge.errors import InputError

# The errors of numpy and zipfile for an archive of arrays that is damaged, cut off, or of another format.
BROKEN_ARCHIVE = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it, so that a kill or a full disk leaves the old file whole.

    Creates the folder if it is missing. Raises ``InputError`` for an unwritable folder or a full disk.
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
