"""A list on disk of files that could not be read, shared by any number of processes: one line of JSON a file."""

import os
from pathlib import Path

from posebridge.contracts.files import json_bytes
from posebridge.errors import InputError
from posebridge.text_files import parse_json


class SkippedList:
    """The list. Each process notes a file once; a resumed run appends to the same list."""

    def __init__(self, path: Path):
        self.path = path
        self._noted: set[str] = set()

    def clear(self) -> None:
        """Delete the list."""
        self.path.unlink(missing_ok=True)
        self._noted.clear()

    def note(self, file: str, reason: str) -> None:
        """Append a file and the reason. Raises ``InputError`` where the list can't be written."""
        if file in self._noted:
            return
        self._noted.add(file)
        line = json_bytes([file, reason], indent=None) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One write at the end of the file: lines of several processes don't mix.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; free some space or choose another folder"
            ) from error

    def read(self) -> dict[str, str]:
        """Reasons by file, in the order of their first note. Damaged lines are left out."""
        if not self.path.exists():
            return {}
        noted: dict[str, str] = {}
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                file, reason = parse_json(line)
                noted.setdefault(str(file), str(reason))
            except (ValueError, TypeError):
                continue
        return noted
