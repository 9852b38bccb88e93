"""A set of shards, and a copy of it."""

from pathlib import Path

import pytest

from data.labelled import write_set
from data.written_shards import COUNT, contents


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished set, not to be changed."""
    folder = tmp_path_factory.mktemp("set") / "whole"
    write_set(folder, COUNT)
    return folder


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    for name, data in contents(whole).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path
