"""Writes a rendered set piece by piece, so that it can be stopped and resumed at any moment.

Each rendered piece is written to disk under a name that includes its checksum. When all pieces of a shard exist, the
shard is written, then added to the index, then its pieces are deleted. A killed run can therefore always be resumed.
"""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from posebridge.contracts.files import write_atomically
from posebridge.data.shards import INDEX, SetIndex, Shard, join_pieces, load_index, shard_name
from posebridge.errors import InputError
from posebridge.regular_files import read_file

PIECES = "pieces"
# A killed process leaves its last piece unfinished, under the name that ``write_atomically`` gives.
_PIECE_NAME = re.compile(
    r"\.?(?P<chunk>\d{8,})-(?P<samples>\d+)-(?P<sha256>[0-9a-f]{64})\.piece(?P<unfinished>\.\d+\.part)?"
)


@dataclass(frozen=True, order=True)
class Piece:
    """Samples of one chunk, from its first on."""

    chunk: int
    samples: int  # fewer than the chunk has at the end of the set only


class ShardWriter:
    """Writes a set into a folder, one process at a time; used in a ``with``.

    Existing shards are compared with their checksums. ``damaged`` maps those that are rendered again to the reason.
    """

    def __init__(self, folder: Path, index: SetIndex):
        """``index``: what the set should be, without shards. Nothing is read or written before ``with``."""
        self.folder = folder
        self.index = index
        self.damaged: dict[str, str] = {}
        self._there: dict[Piece, Path] = {}

    def __enter__(self) -> Self:
        """Lock the folder and resume. Raises ``InputError`` if it has another set, is in use, or can't be written."""
        self._lock = _locked(self.folder)
        try:
            for unfinished in (*self.folder.glob(".shard-*.part"), *self.folder.glob(f".{INDEX}.*.part")):
                unfinished.unlink()  # of a killed process
            self._resume()
            self._there = self._whole_pieces()
            self.index.save(self.folder)
            for number in range(self._shard_count):
                self._finish(number)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # pieces of unfinished shards stay
            (self.folder / PIECES).rmdir()
        os.close(self._lock)

    def missing(self) -> list[Piece]:
        """The pieces that are still to be rendered, in their order."""
        wanted = [piece for number in range(self._shard_count) for piece in self._pieces_of(number)]
        return [piece for piece in wanted if piece not in self._there]

    def add(self, piece: Piece, data: bytes) -> None:
        """Write a rendered piece, and its shard if that was the last piece.

        Raises ``InputError`` where the disk refuses; pieces added before are kept.
        """
        name = f"{piece.chunk:08d}-{piece.samples}-{_sha256(data)}.piece"
        path = self.folder / PIECES / name
        write_atomically(path, data)
        self._there[piece] = path
        self._finish(piece.chunk * self.index.chunk_length // self.index.shard_length)

    @property
    def _shard_count(self) -> int:
        return -(-self.index.count // self.index.shard_length)

    def _pieces_of(self, number: int) -> list[Piece]:
        """The pieces of a shard; none if it is finished."""
        length, first = self.index.chunk_length, number * self.index.shard_length
        end = min(first + self.index.shard_length, self.index.count)
        if any(shard.first == first and shard.samples == end - first for shard in self.index.shards):
            return []
        return [Piece(start // length, min(length, end - start)) for start in range(first, end, length)]

    def _finish(self, number: int) -> None:
        """Write a shard if all its pieces exist."""
        pieces = self._pieces_of(number)
        if not pieces or any(piece not in self._there for piece in pieces):
            return
        name, paths = shard_name(number), [self._there[piece] for piece in pieces]
        data = join_pieces(read_file(path) for path in paths)
        write_atomically(self.folder / name, data)
        first, samples = number * self.index.shard_length, sum(piece.samples for piece in pieces)
        shard = Shard(name, first, samples, len(data), _sha256(data))
        others = (other for other in self.index.shards if other.name != name)
        self.index = replace(self.index, shards=tuple(sorted((*others, shard), key=lambda shard: shard.first)))
        self.index.save(self.folder)
        for piece, path in zip(pieces, paths, strict=True):
            del self._there[piece]
            path.unlink()

    def _resume(self) -> None:
        """Resume from the whole shards.

        A set may grow: its last shard stays until a fuller one replaces it. Finished shards are kept, even if fewer
        samples are requested.
        """
        if not (self.folder / INDEX).exists():
            foreign = (*self.folder.glob("*.tar"), *self.folder.glob(PIECES))
            if foreign:
                raise InputError(f"{self.folder} holds {foreign[0].name} but no {INDEX}: choose another folder")
            return
        before = load_index(self.folder)
        _refuse_another(self.folder, before, self.index)
        count = max(self.index.count, *(shard.first + shard.samples for shard in before.shards), 0)
        kept: list[Shard] = []
        for shard in before.shards:
            if reason := shard.damage(self.folder):
                self.damaged[shard.name] = reason
            else:
                kept.append(shard)
        self.index = replace(self.index, count=count, shards=tuple(kept))

    def _whole_pieces(self) -> dict[Piece, Path]:
        """Whole pieces of unfinished shards. Other pieces are deleted, files of another name are left alone."""
        wanted = {piece for number in range(self._shard_count) for piece in self._pieces_of(number)}
        found: dict[Piece, Path] = {}
        for path in sorted((self.folder / PIECES).glob("*")):
            match = _PIECE_NAME.fullmatch(path.name)
            if match is None or not path.is_file():
                continue
            piece, unfinished = Piece(int(match["chunk"]), int(match["samples"])), match["unfinished"] is not None
            if piece in wanted and not unfinished and _sha256(read_file(path)) == match["sha256"]:
                found[piece] = path
            else:
                path.unlink()
        return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _locked(folder: Path) -> int:
    """A handle of the folder that keeps other processes out until it is closed. Creates the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror}; choose another folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        reason = "another process is writing to it" if isinstance(error, BlockingIOError) else error.strerror
        raise InputError(f"cannot render into {folder}: {reason}; wait, or choose another folder") from None
    return handle


def _refuse_another(folder: Path, there: SetIndex, wanted: SetIndex) -> None:
    before, now = (
        dict(_flat({**index.made_of, **vars(index.coding), "shard size": index.shard_length}))
        for index in (there, wanted)
    )
    for name in now | before:
        if before.get(name) != now.get(name):
            raise InputError(
                f"{folder} holds another set: {name} is {before.get(name)} there and {now.get(name)} here; "
                "choose another folder"
            )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries and lists, by the path to them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
        for i, item in enumerate(value):
            yield from _flat(item, f"{name}[{i}]")
    else:
        yield name, list(value) if isinstance(value, tuple) else value
