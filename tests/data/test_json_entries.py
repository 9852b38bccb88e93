import json

import pytest

from posebridge.data.datasets.annotations import PresentFiles, read_json
from posebridge.data.datasets.json_entries import EntriesById, whole_number
from posebridge.errors import InputError


@pytest.mark.parametrize(("text", "number"), [("160", 160), ("160.0", 160), ("1.6e2", 160), ("1e400", None)])
@pytest.mark.parametrize("sign", ["", "-"])
def test_whole_numbers_in_any_notation(text, number, sign):
    expected = None if number is None else int(f"{sign}{number}")
    assert whole_number(json.loads(sign + text)) == expected


@pytest.mark.parametrize("text", ["160.5", "NaN", "true", '"160"', "[160]", "null"])
def test_other_values(text):
    assert whole_number(json.loads(text)) is None


def test_entries_with_unusable_ids():
    entries = EntriesById([{"id": [1]}, {"id": None}, 7, {"id": 1, "name": "a"}, {"id": 2}, {"id": 2}], "image")
    assert entries.get(1.0)["name"] == "a"
    for number, message in (([1], "not among"), (3, "not among"), (None, "not among"), (2, "several images")):
        with pytest.raises(InputError, match=message):
            entries.get(number)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '"\\', b"\xff"])
def test_no_json(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"a\.json: not JSON") as error:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value)


def test_impossible_names_are_absent(tmp_path):
    present = PresentFiles()
    for name in ("x" * 5000, "a\0b", f"{'x' * 5000}/a"):
        assert tmp_path / name not in present
