"""Every reader on damaged files, and on pipes in their place.

It gives frames, refusals in one line, or entries in ``skipped``; never another exception.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from data.small_sets import SMALL_SETS, SmallSet
from posebridge.data.datasets.registry import DATASETS
from posebridge.errors import InputError

_SEEDS = range(6)
_IMAGES = (".jpg", ".png", ".bin", ".mp4")  # one of each kind is enough


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(0, len(content)))]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Eight bytes become others."""
    damaged = bytearray(content)
    for place in rng.integers(0, len(content), 8):
        damaged[place] ^= int(rng.integers(1, 256))
    return bytes(damaged)


def blanked(content: bytes, rng: np.random.Generator) -> bytes:
    """A tenth becomes zeros."""
    start, length = int(rng.integers(0, len(content))), max(1, len(content) // 10)
    return (content[:start] + bytes(length) + content[start + length :])[: len(content)]


def foreign(content: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(len(content))


DAMAGES = (truncated, flipped, blanked, foreign)


def read_all(small: SmallSet, folder: Path) -> None:
    """Open the set, and read frames, labels and the index."""
    frames = DATASETS[small.name].open(folder, small.split, small.options, small.skeleton)
    for index in range(len(frames)):
        for read in (frames.__getitem__, frames.labels):
            refused_or_read(lambda read=read, index=index: read(index))
    refused_or_read(frames.frame_index)
    assert all(reason and "\n" not in reason for reason in frames.skipped.values())


def refused_or_read(read: Callable[[], object]) -> None:
    message = None
    try:
        read()
    except InputError as error:
        message = str(error)
    assert message is None or (message and "\n" not in message)


@contextmanager
def ended_within(seconds: int) -> Iterator[None]:
    """Fail for code that waits, as for the writer of a pipe."""

    def stop(*_: object) -> None:
        pytest.fail(f"still waiting after {seconds} s")  # no TimeoutError, which readers handle as an OSError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("small", SMALL_SETS, ids=[small.name for small in SMALL_SETS])
def test_damaged_files(small, tmp_path):
    small.write(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
    for seed in _SEEDS:
        rng = np.random.default_rng(seed)
        file, damage = files[int(rng.integers(len(files)))], DAMAGES[int(rng.integers(len(DAMAGES)))]
        whole = file.read_bytes()
        file.write_bytes(damage(whole, rng))
        refused_or_read(lambda: read_all(small, tmp_path))
        file.write_bytes(whole)
    for file in {file.suffix if file.suffix in _IMAGES else file.name: file for file in files}.values():
        file.rename(tmp_path / "away")
        os.mkfifo(file)
        with ended_within(seconds=20):
            refused_or_read(lambda: read_all(small, tmp_path))
        (tmp_path / "away").replace(file)
