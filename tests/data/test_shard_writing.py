import contextlib
import hashlib
import os
import resource
import signal
import tarfile

import pytest

from data.labelled import CHUNK, SHARD, rgb_batch, set_index, write_set
from data.written_shards import COUNT, contents, flip, refused
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.sample_codec import ImageCoding
from posebridge.data.shard_reader import ShardedSet
from posebridge.data.shard_writer import ShardWriter
from posebridge.data.shards import encode_piece, load_index


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


def test_the_set_does_not_depend_on_the_order_of_pieces(whole, tmp_path):
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
    """The process is killed within its n-th write: of the index, a piece, a shard."""
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


def test_damaged_pieces_are_written_again(whole, tmp_path):
    with contextlib.suppress(StopError):
        write_set(tmp_path, COUNT, on_progress=stop_at(1))
    (piece,) = (tmp_path / "pieces").iterdir()
    flip(piece, 700)
    made: list[int] = []
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == list(range(6))
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
def test_damaged_shards_are_written_again(whole, copied, how):
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


def test_a_larger_count_extends_the_set(whole, tmp_path):
    write_set(tmp_path, SHARD + 1)
    first = (tmp_path / "shard-000000.tar").stat()
    made: list[int] = []
    with contextlib.suppress(StopError):
        write_set(tmp_path, COUNT, on_progress=stop_at(3))
    assert len(ShardedSet(tmp_path)) == SHARD + 1  # finished samples stay readable while the set is extended
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == [3, 4, 5]
    assert contents(tmp_path) == contents(whole)
    assert (tmp_path / "shard-000000.tar").stat().st_mtime_ns == first.st_mtime_ns


def test_a_smaller_count_is_refused(whole, copied):
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
    (tmp_path / "photos").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "pieces").symlink_to(tmp_path / "photos")
    refused(lambda: write_set(tmp_path / "new", COUNT), r"holds pieces but no index\.json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "index.json").write_text("{")
    refused(lambda: write_set(tmp_path / "broken", COUNT), "index.json can't be read")


def test_files_of_others_among_the_pieces_are_left_alone(whole, tmp_path):
    with contextlib.suppress(StopError):
        write_set(tmp_path, COUNT, on_progress=stop_at(1))
    (tmp_path / "pieces" / "notes.txt").write_text("mine")
    (tmp_path / "pieces" / "1-2.piece").mkdir()
    made: list[int] = []
    write_set(tmp_path, COUNT, on_progress=made.append)
    assert made == list(range(1, 6))
    assert contents(tmp_path) == {**contents(whole), "pieces/notes.txt": b"mine"}
    assert (tmp_path / "pieces" / "1-2.piece").is_dir()


def test_two_processes_do_not_write_the_same_set(tmp_path):
    with ShardWriter(tmp_path, set_index(COUNT)):
        refused(lambda: write_set(tmp_path, COUNT), "another process is writing to it")
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
