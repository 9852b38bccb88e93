import os
import resource
from pathlib import Path

import pytest

from posebridge.contracts.files import write_atomically
from posebridge.errors import InputError


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "file.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*file.bin: .*; free some space") as caught:
            write_atomically(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path / "taken" / "file.bin", b"")


def test_an_interrupt_leaves_no_partial_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.bin", b"data")
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for name in (f".a.json.{child}.part", f".b.json.{child}.part", f".a.json.{os.getppid()}.part", ".a.json.part"):
        (tmp_path / name).write_text("")
    write_atomically(tmp_path / "a.json", b"whole")
    remaining = {file.name for file in tmp_path.iterdir()}
    assert remaining == {"a.json", f".b.json.{child}.part", f".a.json.{os.getppid()}.part", ".a.json.part"}


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127])
def test_names_as_long_as_the_file_system_allows(name, tmp_path):
    write_atomically(tmp_path / name, b"whole")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {name: b"whole"}
