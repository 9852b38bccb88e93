import pytest

from posebridge.text_files import parse_json, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_of_editors(encoding):
    assert parse_json('{"hände": [1, 2]}'.encode(encoding)) == {"hände": [1, 2]}


@pytest.mark.parametrize(
    ("data", "message"),
    [("{", "Expecting"), ("[" * 100_000, "nested too deeply"), (b"\xff\xfe\xff", "decode"), ("1" * 5000, "digits")],
)
def test_json_that_is_none(data, message):
    with pytest.raises(ValueError, match=message):
        parse_json(data)


def test_keys_that_occur_twice():
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(ValueError, match="'b' occurs twice"):
        parse_json('{"a": {"b": 1, "b": 2}}', unique_keys=True)


def test_text_without_its_byte_order_mark(tmp_path):
    (tmp_path / "centres.txt").write_bytes(b"\xef\xbb\xbf1 2 3\n")
    assert read_text(tmp_path / "centres.txt") == "1 2 3\n"
