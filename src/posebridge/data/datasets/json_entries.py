"""Entries of annotation files in JSON: lookup by id, and a list of those that are left out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from posebridge.errors import InputError

Id = int | float | str


class EntriesById:
    """The objects of a JSON list by their ``id``."""

    def __init__(self, entries: Iterable[Any], noun: str):
        """``noun``: what an entry is, for errors."""
        self._noun = noun
        self._entries: dict[Id, dict[str, Any]] = {}
        self._repeated: set[Id] = set()
        for entry in entries:
            number = _id_of(entry.get("id")) if isinstance(entry, dict) else None
            if number is None:
                continue
            if number in self._entries:
                self._repeated.add(number)
            self._entries[number] = entry

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._entries.values())

    def get(self, number: Any) -> dict[str, Any]:
        """The entry with this id. Raises ``InputError`` where no entry has it, or several do."""
        known = _id_of(number)
        if known is None or known not in self._entries:
            raise InputError(f"its {self._noun} {number!r} is not among the {self._noun}s of the file")
        if known in self._repeated:
            raise InputError(f"several {self._noun}s of the file have its id {number!r}")
        return self._entries[known]


class AnnotationNames:
    """Names of a file's annotations in a list of those that are left out. No two are the same."""

    def __init__(self, path: Path):
        self._path = path
        self._given: set[str] = set()

    def of(self, position: int, annotation: Any) -> str:
        """The file with the annotation's id, or with its position where the id is missing or repeats."""
        number = _id_of(annotation.get("id")) if isinstance(annotation, dict) else None
        name = f"{self._path} annotation {number}"
        if number is None or name in self._given:
            name = f"{self._path} annotations[{position}]"
        self._given.add(name)
        return name


def whole_number(value: Any) -> int | None:
    """A whole number in any notation of JSON, such as 160, 160.0 and 1.6e2; None for other values."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if value == value // 1 else None


def _id_of(value: Any) -> Id | None:
    """The value, or None for one that is no id: JSON allows lists and objects in its place."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
