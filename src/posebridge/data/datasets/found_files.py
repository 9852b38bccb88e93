"""The files below a folder: those of some suffixes, and all others with the reason why they are left out."""

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from posebridge.data.natural_order import natural_path_key

# Suffixes of pictures that are not decoded, so that people learn what to do with them.
_OTHER_PICTURES = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".exr"}
)


@dataclass(frozen=True)
class FoundFiles:
    """Files in natural order, and what was left out: path -> reason."""

    files: list[Path] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def example(self) -> str:
        """The first of the files that were left out, for an error about a folder without usable files."""
        return next((f"; {path}: {reason}" for path, reason in self.skipped.items()), "")


def find_files(folder: Path, suffixes: frozenset[str]) -> FoundFiles:
    """Files below ``folder`` with one of the suffixes; nothing whose name starts with a dot.

    Links to folders are followed. Each folder is read once, and folders that hold ``folder`` itself are left out, so
    that loops of links end.
    """
    files: list[Path] = []
    skipped: dict[str, str] = {}
    for path, mode in _walk(folder, skipped):
        if not stat.S_ISREG(mode):
            skipped[str(path)] = "not a regular file"
        elif path.suffix.lower() in suffixes:
            files.append(path)
        else:
            skipped[str(path)] = _other_suffix(path)
    ordered = sorted(skipped, key=lambda name: natural_path_key(Path(name)))
    return FoundFiles(sorted(files, key=natural_path_key), {name: skipped[name] for name in ordered})


def visible_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files that ``find_files`` returns, without the others."""
    return find_files(folder, suffixes).files


def _walk(folder: Path, skipped: dict[str, str]) -> Iterator[tuple[Path, int]]:
    """All that is no folder, with its mode. Links to folders come last, so that a folder keeps its own name."""
    folders, links = deque([folder]), deque[Path]()
    visited: set[tuple[int, int]] = set()
    root = folder.resolve()
    while folders or links:
        linked = not folders
        current = links.popleft() if linked else folders.popleft()
        status = current.stat()
        if (status.st_dev, status.st_ino) in visited or (linked and root.is_relative_to(current.resolve())):
            skipped[str(current)] = "a link to a folder that is read under another name"
            continue
        visited.add((status.st_dev, status.st_ino))
        for path in _entries(current, skipped):
            try:
                mode = path.stat().st_mode
            except OSError as error:
                skipped[str(path)] = "a link to nothing" if path.is_symlink() else str(error.strerror)
                continue
            if stat.S_ISDIR(mode):
                (links if path.is_symlink() else folders).append(path)
            else:
                yield path, mode


def _entries(folder: Path, skipped: dict[str, str]) -> list[Path]:
    """What lies in a folder, without hidden names."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError as error:
        skipped[str(folder)] = f"the folder can't be read: {error.strerror}"
        return []


def _other_suffix(path: Path) -> str:
    if path.suffix.lower() in _OTHER_PICTURES:
        return f"{path.suffix} is not read; convert it to .jpg or .png"
    return f"not used: no file of {path.suffix or 'no suffix'} is read here"
