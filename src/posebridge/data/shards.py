"""A rendered set on disk: webdataset shards, and ``index.json``, which lists them.

A shard is made of pieces, the samples of one rendered chunk each. The bytes of a piece are a function of the set's
configuration and the piece's number alone, and a shard is its pieces one after the other. So a set doesn't depend on
the number of workers, or on the order in which they render.
"""

import errno
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.plain import from_plain
from posebridge.data.sample_codec import ImageCoding, encode_sample
from posebridge.errors import InputError
from posebridge.regular_files import open_file, read_file
from posebridge.text_files import parse_json

FORMAT = 2  # 2: masks of hands without forearm
INDEX = "index.json"
_END = bytes(2 * tarfile.BLOCKSIZE)  # closes a tar file


@dataclass(frozen=True)
class Shard:
    """A finished shard."""

    name: str
    first: int  # number of its first sample
    samples: int
    size_bytes: int
    sha256: str

    def missing(self, found: int, reason: str | None) -> str:
        """What is missing where only so many samples are found, for a list of what was left out."""
        return f"{reason or 'the file is damaged'}; {self.samples - found} of its {self.samples} samples can't be found"

    def damage(self, folder: Path) -> str | None:
        """The first fault of the shard's file, None if it is whole; reads all of it."""
        path = folder / self.name
        try:
            if (size := path.stat().st_size) != self.size_bytes:
                return f"{size} bytes instead of {self.size_bytes}"
            with open_file(path) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"can't be read: {error.strerror}"
        return None if found == self.sha256 else "its checksum differs"


@dataclass(frozen=True)
class SetIndex:
    """The content of ``index.json``."""

    made_of: dict[str, Any]  # everything that the samples depend on, as plain JSON; the same for every run
    coding: ImageCoding
    chunk_length: int  # samples of a piece
    shard_length: int  # samples of a shard, a multiple of that
    count: int  # samples of the finished set
    shards: tuple[Shard, ...] = field(default=())  # the finished ones, in order

    @property
    def samples(self) -> int:
        """Samples in finished shards."""
        return sum(shard.samples for shard in self.shards)

    def save(self, folder: Path) -> None:
        """Write ``index.json`` atomically."""
        content = {"format": FORMAT, **asdict(self)}
        write_atomically(folder / INDEX, json_bytes(content))


def load_index(folder: Path) -> SetIndex:
    """The index of a set. Raises ``InputError`` where there is none, or one that is damaged or of another format."""
    path = folder / INDEX
    try:
        content = parse_json(read_file(path))
        if content.pop("format") != FORMAT:
            raise InputError(
                f"{path} was written by another version of posebridge (this one reads format {FORMAT}): "
                "render the set again into another folder"
            )
        index = from_plain(SetIndex, content)
        _check_lengths(index)
    except FileNotFoundError:
        raise InputError(f"{folder} holds no {INDEX}: give a folder that posebridge render has written") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} can't be read ({error}): restore it, or render into another folder") from None
    return index


def _check_lengths(index: SetIndex) -> None:
    """Raise ``ValueError`` for shards that the set can't have: each has its number in its name, none is twice there.

    Names are read from a file: so none leads out of the folder.
    """
    if not 0 < index.chunk_length <= index.shard_length or index.shard_length % index.chunk_length or index.count < 1:
        raise ValueError("its lengths are not those of a set")
    for shard in index.shards:
        number, rest = divmod(shard.first, index.shard_length)
        if rest or number < 0 or not 0 < shard.samples <= index.shard_length or shard.name != shard_name(number):
            raise ValueError(f"it has a shard {shard.name} of samples {shard.first} to {shard.first + shard.samples}")
        if shard.first + shard.samples > index.count:
            raise ValueError(f"its shard {shard.name} ends behind the {index.count} samples of the set")
    if len({shard.name for shard in index.shards}) < len(index.shards):
        raise ValueError("a shard is listed twice")


def check_plain_tar(path: Path) -> None:
    """Raise ``OSError`` for a shard that is missing or no uncompressed tar file: others may unpack to any size."""
    with open_file(path) as file:
        if file.read(tarfile.BLOCKSIZE)[257:262] != b"ustar":
            raise OSError(errno.EINVAL, "no uncompressed tar file")


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:06d}.tar"


def encode_piece(samples: LabelledBatch, first: int, coding: ImageCoding) -> bytes:
    """A part of a tar file with the members of each sample; ``first`` is the number of the first.

    No time, user or machine enters, so the same samples are the same bytes. Raises ``InputError`` for depth that
    doesn't fit the coding.
    """
    file = io.BytesIO()
    for i in range(len(samples)):
        key = samples.key[i]
        if "." in key or key.startswith("__"):
            raise ValueError(f"{key!r} is no key for webdataset, which takes all after the first dot for a suffix")
        for suffix, data in encode_sample(samples[i : i + 1], first + i, coding).items():
            header = tarfile.TarInfo(f"{key}.{suffix}")
            header.size, header.mode = len(data), 0o644
            file.write(header.tobuf(tarfile.USTAR_FORMAT))
            file.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
    return file.getvalue()


def join_pieces(pieces: Iterator[bytes]) -> bytes:
    """A shard."""
    return b"".join((*pieces, _END))
