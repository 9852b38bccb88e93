import multiprocessing

import pytest

from posebridge.data.skipped_list import SkippedList
from posebridge.errors import InputError


def test_a_list_survives_its_process(tmp_path):
    path = tmp_path / "run" / "list"
    assert SkippedList(path).read() == {}
    first = SkippedList(path)
    first.note("ä/b.jpg", "cut off\nin two lines")
    first.note("ä/b.jpg", "again")
    again = SkippedList(path)
    again.note("c.jpg", "missing")
    again.note("ä/b.jpg", "another reason")
    assert again.read() == first.read() == {"ä/b.jpg": "cut off\nin two lines", "c.jpg": "missing"}
    assert list(first.read()) == ["ä/b.jpg", "c.jpg"]


def _note(skipped: SkippedList, worker: int) -> None:
    for i in range(50):
        skipped.note(f"{worker} {i} {'x' * 200}", "torn")


def test_processes_write_whole_lines(tmp_path):
    skipped = SkippedList(tmp_path / "list")
    workers = [multiprocessing.get_context("fork").Process(target=_note, args=(skipped, w)) for w in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(skipped.read()) == 200
    assert set(skipped.read().values()) == {"torn"}


def test_incomplete_lines_are_ignored(tmp_path):
    skipped = SkippedList(tmp_path / "list")
    skipped.note("a", "torn")
    with skipped.path.open("a") as file:
        file.write('["b", "to\n')
    skipped.note("c", "torn")
    assert list(skipped.read()) == ["a", "c"]


def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^cannot write .*file/list: .*choose another folder$"):
        SkippedList(tmp_path / "file" / "list").note("a", "torn")
