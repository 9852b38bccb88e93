"""Size and contents of the set of shards for tests of writing and reading, and a check of refusals."""

from pathlib import Path

import pytest

from data.labelled import CHUNK, SHARD
from posebridge.errors import InputError

COUNT = 2 * SHARD + CHUNK + 1  # two full shards, and one of a full and a partial piece


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def refused(action, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        action()
    assert "\n" not in str(raised.value)
