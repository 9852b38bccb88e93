"""Reading of text and JSON that users give. A byte-order mark, which some editors write, is no part of the text."""

import io
import json
from pathlib import Path
from typing import Any

from posebridge.regular_files import open_file


def read_text(path: Path) -> str:
    """A text file in UTF-8. Raises ``OSError`` for an unreadable file, ``UnicodeDecodeError`` for other content."""
    with io.TextIOWrapper(open_file(path), encoding="utf-8-sig") as file:
        return file.read()


def parse_json(data: bytes | str, *, unique_keys: bool = False) -> Any:
    """The content of JSON in UTF-8, UTF-16 or UTF-32.

    Raises ``ValueError`` for anything else, for deep nesting, and with ``unique_keys`` for an object with a key twice.
    """
    try:
        return json.loads(data, object_pairs_hook=_unique if unique_keys else None)
    except RecursionError:
        raise ValueError("its lists or objects are nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {key!r} occurs twice")
        content[key] = value
    return content
