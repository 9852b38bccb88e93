import contextlib
import hashlib
import json
import os
import resource
import signal
import tarfile
from pathlib import Path

import pytest
import torch
import webdataset as wds
from torch.utils.data import DataLoader, IterableDataset

from data.labelled import CHUNK, SHARD, rgb_batch, set_index, write_set
from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.data.sample_codec import ImageCoding, decode_sample
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.shard_writer import ShardWriter
from posebridge.data.shards import encode_piece, load_index
from posebridge.errors import InputError

COUNT = 2 * SHARD + CHUNK + 1  # two whole shards, and one of a whole and a cut piece


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def at_pixels_of(path: Path, sample: int) -> int:
    """Where the bytes of a sample's colour image begin in a shard."""
    with tarfile.open(path) as file:
        return [member for member in file if member.name.endswith(".rgb.png")][sample].offset_data + 60


def expected(start: int, count: int) -> LabelledBatch:
    """What is written, in 8 bit and units of 0.1 mm."""
    chunks = range(start // CHUNK, (start + count - 1) // CHUNK + 1)
    batch = concatenate([rgb_batch(seed=chunk) for chunk in chunks])
    return batch[start - chunks[0] * CHUNK :][:count]


def assert_same(found: LabelledBatch, wanted: LabelledBatch) -> None:
    assert found.key == wanted.key
    torch.testing.assert_close(found.rgb, torch.round(wanted.rgb * 255) / 255, atol=0, rtol=0)
    torch.testing.assert_close(found.depth_m, wanted.depth_m, atol=5.1e-5, rtol=0)
    torch.testing.assert_close(found.joints_m, wanted.joints_m, atol=0, rtol=0, equal_nan=True)


# Writing


def test_index_lists_the_shards(whole):
    index = load_index(whole)
    assert [(shard.name, shard.first, shard.samples) for shard in index.shards] == [
        ("shard-000000.tar", 0, SHARD),
        ("shard-000001.tar", SHARD, SHARD),
        ("shard-000002.tar", 2 * SHARD, CHUNK + 1),
    ]
    for shard in index.shards:
        data = (whole / shard.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.size_bytes, shard.sha256)
    assert set(contents(whole)) == {"index.json", *(shard.name for shard in index.shards)}


def test_shards_are_ordinary_tar_files_without_time_or_user(whole):
    names = []
    for i in range(3):
        with tarfile.open(whole / f"shard-{i:06d}.tar") as file:
            for member in file:
                names.append(member.name)
                assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
                assert len(file.extractfile(member).read()) == member.size
    assert names[:6] == [
        f"studio-0-00000000.{end}"
        for end in ("rgb.png", "depth.png", "mask.png", "hand_mask.png", "vertices_m.npy", "json")
    ]
    assert len(names) == 6 * COUNT


def test_order_of_the_pieces_makes_no_difference(whole, tmp_path):
    with ShardWriter(tmp_path, set_index(COUNT)) as writer:
        for piece in reversed(writer.missing()):
            batch = rgb_batch(seed=piece.chunk)[: piece.samples]
            writer.add(piece, encode_piece(batch, piece.chunk * CHUNK, ImageCoding()))
    assert contents(tmp_path) == contents(whole)


def test_keys_that_webdataset_would_cut_are_a_defect():
    with pytest.raises(ValueError, match="no key for webdataset"):
        encode_piece(LabelledBatch(image=None, key=("a.b",)), 0, ImageCoding())


class StopError(Exception):
    pass


def stop_at(chunk: int):
    def stop(reached: int) -> None:
        if reached == chunk:
            raise StopError

    return stop


@pytest.mark.parametrize("chunk", [0, 1, 2, 3, 5])
def test_resumed_sets_keep_finished_pieces(whole, tmp_path, chunk):
    with contextlib.suppress(StopError):
        write_set(tmp_path, COUNT, on_progress=stop_at(chunk))
    made: list[int] = []
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == list(range(chunk, 6))
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("write", range(1, 13))
def test_killed_writes_are_repeated(whole, tmp_path, write):
    """The process dies within its n-th write: of the index, a piece, a shard."""
    child = os.fork()
    if child == 0:
        done = []

        def die(descriptor: int) -> None:
            done.append(descriptor)
            if len(done) == write:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = die
        write_set(tmp_path, COUNT)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert any(path.name.endswith(".part") for path in tmp_path.rglob(".*"))
    if write > 1:
        held = sum(path.suffix == ".piece" and path.name[0] != "." for path in tmp_path.rglob("*"))
        finished = load_index(tmp_path).samples // CHUNK
        made: list[int] = []
        assert write_set(tmp_path, COUNT, on_progress=made.append).damaged == {}
        assert len(made) == 6 - finished - held
    else:
        write_set(tmp_path, COUNT)
    assert contents(tmp_path) == contents(whole)


def test_a_piece_that_was_damaged_is_made_again(whole, tmp_path):
    with contextlib.suppress(StopError):
        write_set(tmp_path, COUNT, on_progress=stop_at(1))
    (piece,) = (tmp_path / "pieces").iterdir()
    flip(piece, 700)
    made: list[int] = []
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == list(range(6))
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
def test_a_damaged_shard_is_made_again(whole, copied, how):
    path = copied / "shard-000001.tar"
    if how == "flipped":
        flip(path, 5000)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-4000])
    else:
        path.unlink()
    made: list[int] = []
    writer = write_set(copied, COUNT, on_progress=made.append)
    assert made == [2, 3]
    assert list(writer.damaged) == ["shard-000001.tar"]
    assert contents(copied) == contents(whole)


def test_a_set_grows(whole, tmp_path):
    write_set(tmp_path, SHARD + 1)
    first = (tmp_path / "shard-000000.tar").stat()
    made: list[int] = []
    with contextlib.suppress(StopError):
        write_set(tmp_path, COUNT, on_progress=stop_at(3))
    assert len(ShardedSet(tmp_path)) == SHARD + 1  # what was there stays until there is more
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == [3, 4, 5]
    assert contents(tmp_path) == contents(whole)
    assert (tmp_path / "shard-000000.tar").stat().st_mtime_ns == first.st_mtime_ns


def test_a_set_does_not_shrink(whole, copied):
    made: list[int] = []
    assert write_set(copied, 3, on_progress=made.append).index.count == COUNT
    assert made == []
    assert contents(copied) == contents(whole)


def test_smaller_sets_than_begun_are_refused(whole, tmp_path):
    with contextlib.suppress(StopError):
        write_set(tmp_path, 100 * SHARD, on_progress=stop_at(5))
    made: list[int] = []
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == [5]
    assert contents(tmp_path) == contents(whole)


def test_another_set_in_the_same_folder_is_refused(whole, copied):
    for index, message in (
        (set_index(COUNT, seed=1), "seed is 0 there and 1 here"),
        (set_index(COUNT, ImageCoding("jpg")), "image is png there and jpg here"),
        (set_index(COUNT, ImageCoding(depth_unit_mm=1.0)), "depth_unit_mm is 0.1 there and 1.0 here"),
    ):
        refused(lambda index=index: write_set(copied, COUNT, index), message)
    assert contents(copied) == contents(whole)


def test_unusable_folders_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    refused(lambda: write_set(tmp_path / "file", COUNT), "cannot write into .*file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.tar").write_text("")
    refused(lambda: write_set(tmp_path / "other", COUNT), "holds holiday.tar but no index.json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "index.json").write_text("{")
    refused(lambda: write_set(tmp_path / "broken", COUNT), "index.json can't be read")


def test_two_processes_do_not_write_the_same_set(tmp_path):
    with ShardWriter(tmp_path, set_index(COUNT)):
        refused(lambda: write_set(tmp_path, COUNT), "another process is at it")
    write_set(tmp_path, COUNT)


def test_full_disk(whole, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    piece = len(encode_piece(rgb_batch(), 0, ImageCoding()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (piece + 2000, hard))  # room for a piece, not for a shard
    try:
        refused(lambda: write_set(tmp_path, COUNT), "cannot write .*shard-000000.tar: .*free some space")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    made: list[int] = []
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == [2, 3, 4, 5]
    assert contents(tmp_path) == contents(whole)


# Reading


def test_ranges_of_samples_are_read(whole):
    source = ShardedSet(whole)
    assert len(source) == COUNT
    for start, count in ((0, 1), (2, 9), (SHARD, SHARD), (0, COUNT)):
        assert_same(source.samples(start, count), expected(start, count))
    assert source.skipped == {}
    refused(lambda: source.samples(3, COUNT), f"samples 0 to {COUNT - 1}")


def test_what_is_finished_of_a_set_can_be_read(tmp_path):
    with ShardWriter(tmp_path, set_index(COUNT)) as writer:
        for piece in writer.missing()[2:4]:
            writer.add(piece, encode_piece(rgb_batch(seed=piece.chunk), piece.chunk * CHUNK, ImageCoding()))
    source = ShardedSet(tmp_path)
    assert len(source) == SHARD
    assert_same(source.samples(SHARD - 3, 5), expected(SHARD, 2))
    assert source.skipped == {str(tmp_path): "3 of the samples 5 to 9 are in shards that are not finished yet"}
    assert_same(concatenate(list(source)), expected(SHARD, SHARD))


def test_streamed(whole):
    assert_same(concatenate(list(ShardedSet(whole))), expected(0, COUNT))


class Streamed(IterableDataset):
    def __init__(self, source: ShardedSet):
        self.source = source

    def __iter__(self):
        return iter(self.source)


def test_workers_of_a_loader_share_the_shards(whole):
    loader = DataLoader(Streamed(ShardedSet(whole)), batch_size=None, num_workers=2)
    keys = [key for batch in loader for key in batch.key]
    assert sorted(keys) == sorted(expected(0, COUNT).key)


def test_plain_webdataset_reads_the_shards(whole):
    shards = sorted(map(str, whole.glob("*.tar")))
    dataset = wds.WebDataset(shards, shardshuffle=False).decode("torchrgb8", only=["rgb.png", "json"])
    wanted = expected(0, COUNT)
    for i, (image, labels) in enumerate(dataset.to_tuple("rgb.png", "json")):
        assert torch.equal(image, (wanted.rgb[i] * 255).round().to(torch.uint8))
        assert torch.equal(torch.tensor(labels["uv_px"]), wanted.uv_px[i])
    assert i == COUNT - 1


def test_shards_of_webdatasets_own_writer_hold_the_same(whole, tmp_path):
    """What this package writes and what webdataset would write of the same members decode to the same."""
    with wds.TarWriter(str(tmp_path / "theirs.tar"), encoder=False) as sink:
        for sample in wds.WebDataset([str(whole / "shard-000000.tar")], shardshuffle=False):
            sink.write({name: value for name, value in sample.items() if name not in ("__url__", "__local_path__")})
    theirs = list(wds.WebDataset([str(tmp_path / "theirs.tar")], shardshuffle=False))
    assert_same(concatenate([decode_sample(sample, ImageCoding())[1] for sample in theirs]), expected(0, SHARD))


def test_a_broken_sample_is_skipped_counted_and_listed(copied):
    flip(copied / "shard-000001.tar", at_pixels_of(copied / "shard-000001.tar", 2))
    source = ShardedSet(copied)
    found = source.samples(0, COUNT)
    broken = expected(SHARD + 2, 1).key[0]
    assert found.key == tuple(key for key in expected(0, COUNT).key if key != broken)
    assert source.skipped == {f"{copied}/shard-000001.tar:{broken}": "damaged: its checksum differs"}
    streamed = ShardedSet(copied)
    assert [key for batch in streamed for key in batch.key] == list(found.key)
    assert streamed.skipped == source.skipped
    assert source.damaged() == {"shard-000001.tar": "its checksum differs"}


@pytest.mark.parametrize("how", ["cut in data", "broken header", "missing", "not a tar file"])
def test_what_a_shard_has_lost_is_listed(copied, how):
    path = copied / "shard-000001.tar"
    data = path.read_bytes()
    at = at_pixels_of(path, 3)
    if how == "cut in data":
        path.write_bytes(data[: at + 20])
    elif how == "broken header":
        flip(path, at - 60 - 500)
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" * len(data))
    source = ShardedSet(copied)
    found = source.samples(0, COUNT)
    lost = 5 if how in ("cut in data", "broken header") else 8
    assert len(found) == COUNT - lost
    assert list(source.skipped) == [str(path)]
    assert source.skipped[str(path)].endswith(f"; {lost} of its 8 samples can't be found")
    assert "\n" not in source.skipped[str(path)]
    skipped = dict(source.skipped)
    assert sum(map(len, source)) == COUNT - lost
    assert source.skipped == skipped


def test_nothing_readable(copied):
    for path in copied.glob("*.tar"):
        path.write_bytes(b"x" * 3000)
    for read in (lambda: list(ShardedSet(copied)), lambda: ShardedSet(copied).samples(0, COUNT)):
        refused(read, "no sample can be read .*shard-000000.tar")


def test_invalid_sets_are_refused(tmp_path, copied):
    refused(lambda: ShardedSet(tmp_path / "absent"), "holds no index.json")
    with ShardWriter(tmp_path / "new", set_index(COUNT)):
        pass
    refused(lambda: ShardedSet(tmp_path / "new"), "holds no finished shard yet")
    content = json.loads((copied / "index.json").read_text())
    for broken in (
        {**content, "format": 1},
        {**content, "format": 3},
        {**content, "surprise": 1},
        {**content, "shards": [{**content["shards"][0], "name": "pipe:touch pwned"}]},
        {**content, "shards": [{**content["shards"][0], "name": "../shard-000000.tar"}]},
        [],
    ):
        (copied / "index.json").write_text(json.dumps(broken))
        refused(lambda: ShardedSet(copied), "index.json")


def test_sets_of_other_versions_are_refused(copied):
    index = copied / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "format": 1}))
    for action in (lambda: ShardedSet(copied), lambda: write_set(copied, COUNT)):
        refused(action, r"another version of posebridge \(this one reads format 2\): render the set again")


def refused(action, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        action()
    assert "\n" not in str(raised.value)
