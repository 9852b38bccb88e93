import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest
import torch
import webdataset as wds
from torch.utils.data import DataLoader, IterableDataset

from data.labelled import CHUNK, SHARD, rgb_batch, set_index, write_set
from data.written_shards import COUNT, flip, refused
from posebridge.contracts.batch import LabelledBatch, concatenate
from posebridge.data.sample_codec import ImageCoding, decode_sample
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.shard_writer import ShardWriter
from posebridge.data.shards import encode_piece


def at_pixels_of(path: Path, sample: int) -> int:
    """Offset of a sample's colour image in a shard, in bytes."""
    with tarfile.open(path) as file:
        return [member for member in file if member.name.endswith(".rgb.png")][sample].offset_data + 60


def expected(start: int, count: int) -> LabelledBatch:
    """The written batch, rounded to 8 bit and units of 0.1 mm."""
    chunks = range(start // CHUNK, (start + count - 1) // CHUNK + 1)
    batch = concatenate([rgb_batch(seed=chunk) for chunk in chunks])
    return batch[start - chunks[0] * CHUNK :][:count]


def assert_same(found: LabelledBatch, reference: LabelledBatch) -> None:
    assert found.key == reference.key
    torch.testing.assert_close(found.rgb, torch.round(reference.rgb * 255) / 255, atol=0, rtol=0)
    torch.testing.assert_close(found.depth_m, reference.depth_m, atol=5.1e-5, rtol=0)
    torch.testing.assert_close(found.joints_m, reference.joints_m, atol=0, rtol=0, equal_nan=True)


def test_ranges_of_samples_are_read(whole):
    source = ShardedSet(whole)
    assert len(source) == COUNT
    for start, count in ((0, 1), (2, 9), (SHARD, SHARD), (0, COUNT)):
        assert_same(source.samples(start, count), expected(start, count))
    assert source.skipped == {}
    refused(lambda: source.samples(3, COUNT), f"samples 0 to {COUNT - 1}")


def test_finished_shards_of_a_partial_set_are_read(tmp_path):
    with ShardWriter(tmp_path, set_index(COUNT)) as writer:
        for piece in writer.missing()[2:4]:
            writer.add(piece, encode_piece(rgb_batch(seed=piece.chunk), piece.chunk * CHUNK, ImageCoding()))
    source = ShardedSet(tmp_path)
    assert len(source) == SHARD
    assert_same(source.samples(SHARD - 3, 5), expected(SHARD, 2))
    assert source.skipped == {str(tmp_path): "3 of the samples 5 to 9 are in shards that are not finished yet"}
    assert_same(concatenate(list(source)), expected(SHARD, SHARD))


def test_samples_are_streamed(whole):
    assert_same(concatenate(list(ShardedSet(whole))), expected(0, COUNT))


class Streamed(IterableDataset):
    def __init__(self, source: ShardedSet):
        self.source = source

    def __iter__(self):
        return iter(self.source)


def test_loader_workers_partition_the_shards(whole):
    loader = DataLoader(Streamed(ShardedSet(whole)), batch_size=None, num_workers=2)
    keys = [key for batch in loader for key in batch.key]
    assert sorted(keys) == sorted(expected(0, COUNT).key)


def test_plain_webdataset_reads_the_shards(whole):
    shards = sorted(map(str, whole.glob("*.tar")))
    dataset = wds.WebDataset(shards, shardshuffle=False).decode("torchrgb8", only=["rgb.png", "json"])
    reference = expected(0, COUNT)
    for i, (image, labels) in enumerate(dataset.to_tuple("rgb.png", "json")):
        assert torch.equal(image, (reference.rgb[i] * 255).round().to(torch.uint8))
        assert torch.equal(torch.tensor(labels["uv_px"]), reference.uv_px[i])
    assert i == COUNT - 1


def test_shards_of_webdatasets_writer_decode_to_the_same(whole, tmp_path):
    """Shards of this package and of webdataset's writer decode to the same samples."""
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


@pytest.mark.parametrize("how", ["cut in data", "broken header", "missing", "not a tar file", "compressed", "pipe"])
def test_missing_samples_of_a_shard_are_listed(copied, how):
    path = copied / "shard-000001.tar"
    data = path.read_bytes()
    at = at_pixels_of(path, 3)
    if how == "cut in data":
        path.write_bytes(data[: at + 20])
    elif how == "broken header":
        flip(path, at - 60 - 500)
    elif how == "missing":
        path.unlink()
    elif how == "compressed":
        path.write_bytes(gzip.compress(data))
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)
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
        {**content, "shards": [{**content["shards"][0], "first": 10**9}]},
        {**content, "shards": [{**content["shards"][0], "first": 0.5}]},
        {**content, "shards": [{**content["shards"][0], "first": 125 * SHARD, "name": "shard-000125.tar"}]},
        {**content, "shards": [content["shards"][0]] * 2},
        {**content, "shard_length": 0},
        [],
    ):
        (copied / "index.json").write_text(json.dumps(broken))
        refused(lambda: ShardedSet(copied), "index.json")


def test_sets_of_other_versions_are_refused(copied):
    index = copied / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "format": 1}))
    for action in (lambda: ShardedSet(copied), lambda: write_set(copied, COUNT)):
        refused(action, r"another version of posebridge \(this one reads format 2\): render the set again")
