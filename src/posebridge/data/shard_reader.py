"""Rendered sets, read back: a part of one, or all of one as a stream."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from webdataset.shardlists import split_by_worker
from webdataset.tariterators import tarfile_samples

from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.data.frames import UnreadableFrameError
from posebridge.data.sample_codec import decode_sample, number_of
from posebridge.data.shards import SetIndex, Shard, check_plain_tar, load_index
from posebridge.errors import InputError

Members = Mapping[str, bytes]


class ShardedSet:
    """The finished shards of a set that ``posebridge render`` writes.

    ``skipped`` lists what could not be read so far, with the reason: a sample by its shard and key, and
    missing samples by their shard.
    """

    def __init__(self, folder: str | Path):
        """Raises ``InputError`` where the folder holds no set, or not one finished shard."""
        self.folder = Path(folder).absolute()
        self.index: SetIndex = load_index(self.folder)
        self.skipped: dict[str, str] = {}
        if not self.index.shards:
            raise InputError(f"{self.folder} holds no finished shard yet: resume it with posebridge render")

    def __len__(self) -> int:
        """Samples of the finished shards, broken ones included."""
        return self.index.samples

    def __iter__(self) -> Iterator[LabelledBatch]:
        """Every sample that can be read, as a batch of one, in order.

        Shards are streamed. In a worker of a ``DataLoader`` these are the samples of the worker's share of shards.
        Raises ``InputError`` where not one sample of the set can be read.
        """
        read_any = False
        for shard in split_by_worker(self.index.shards):
            for members in self._members(shard):
                sample = self._decoded(members)
                if sample is not None:
                    read_any = True
                    yield sample
        if not read_any and torch.utils.data.get_worker_info() is None:
            raise self._unreadable()

    def samples(self, start: int, count: int) -> LabelledBatch:
        """The samples numbered ``start`` to ``start + count``, but for those that can't be read.

        Raises ``InputError`` where none of them can, and for numbers that the finished shards don't reach.
        """
        last = self.index.shards[-1]
        end = last.first + last.samples
        if start < 0 or count < 1 or start + count > end:
            raise InputError(f"{self.folder} has samples 0 to {end - 1}: {start} to {start + count - 1} aren't there")
        found: list[LabelledBatch] = []
        unfinished = count
        for shard in self.index.shards:
            numbers = range(max(start, shard.first), min(start + count, shard.first + shard.samples))
            unfinished -= len(numbers)
            members = self._by_number(shard) if numbers else {}
            found += [sample for n in numbers if n in members and (sample := self._decoded(members[n])) is not None]
        if unfinished:
            asked = f"{unfinished} of the samples {start} to {start + count - 1}"
            self.skipped[str(self.folder)] = f"{asked} are in shards that are not finished yet"
        if not found:
            raise self._unreadable()
        return concatenate(found)

    def _by_number(self, shard: Shard) -> dict[int, Members]:
        """The undecoded samples of a shard by their numbers, but for broken ones."""
        found: dict[int, Members] = {}
        for members in self._members(shard):
            try:
                found[number_of(members, _name(members))] = members
            except UnreadableFrameError as error:
                self.skipped[error.file] = error.reason
        return found

    def _decoded(self, members: Members) -> LabelledBatch | None:
        """A batch of one; None for a broken one, which is then listed in ``skipped``."""
        try:
            return decode_sample(members, self.index.coding, _name(members))[1]
        except UnreadableFrameError as error:
            self.skipped[error.file] = error.reason
            return None

    def damaged(self) -> dict[str, str]:
        """Damaged shards with the reason. Reads all of them."""
        reasons = ((shard.name, shard.damage(self.folder)) for shard in self.index.shards)
        return {name: reason for name, reason in reasons if reason is not None}

    def _unreadable(self) -> InputError:
        """The error to raise where no sample can be read."""
        first = next((f"{name}: {reason}" for name, reason in self.skipped.items()), "the shards are empty")
        return InputError(f"{self.folder}: no sample can be read ({first}): repair it with posebridge render")

    def _members(self, shard: Shard) -> Iterator[Members]:
        """A shard's samples, as bytes by suffix. What can't be read of a file that is cut short is listed."""
        path, found, reasons = str(self.folder / shard.name), 0, []

        def stop(error: Exception) -> bool:
            """Called by webdataset where a file can't be read on; False stops reading it."""
            reason = getattr(error, "strerror", None) or next(iter(error.args), type(error).__name__)
            reasons.append(" ".join(str(reason).partition(" @ ")[0].split()))
            return False

        try:
            check_plain_tar(Path(path))
            for members in tarfile_samples([{"url": path}], handler=stop):
                found += 1
                yield members
        except OSError as error:
            stop(error)
        if found < shard.samples:
            self.skipped[path] = shard.missing(found, next(iter(reasons), None))


def _name(members: Members) -> str:
    return f"{members['__url__']}:{members['__key__']}"
