import json
import unicodedata

import numpy as np
import pytest

from posebridge.data.boxes import Boxes, box_problem
from posebridge.errors import InputError


def write(tmp_path, name: str, text: str):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_json_and_csv_give_the_same_boxes(tmp_path):
    by_json = Boxes(write(tmp_path, "b.json", json.dumps({"a": [1, 2, 30, 40], "s/b": [-5.5, 0, 9, 9]})))
    by_csv = Boxes(write(tmp_path, "b.csv", "key,x0,y0,x1,y1,hand\na,1,2,30,40,left\ns/b,-5.5,0,9,9,\n"))
    for key in ("a", "s/b"):
        np.testing.assert_array_equal(by_json.by_key[key].xyxy, by_csv.by_key[key].xyxy)
    assert by_csv.by_key["a"].hand == "left"
    assert by_csv.by_key["s/b"].hand is None
    assert by_csv.has_hands
    assert not by_json.has_hands
    assert by_json.get("unknown", 50, 50) is None


@pytest.mark.parametrize("name", ["b.json", "b.csv"])
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    text = {"b.json": '{"a": [0, 0, 120, 100]}', "b.csv": "key,x0,y0,x1,y1\na,0,0,120,100\n"}[name]
    assert Boxes(write(tmp_path, name, "\ufeff" + text)).by_key["a"].xyxy.tolist() == [0, 0, 120, 100]


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ([0, 0, 10, 10], None),
        ([-5, -5, 3, 3], None),
        ([90, 40, 200, 200], None),
        ([10, 0, 10, 10], "empty"),
        ([10, 10, 0, 20], "empty"),
        ([0.2, 0.1, 0.8, 0.9], "not fractions of the image"),
        ([0, 0, 1, 1], "not fractions of the image"),
        ([0, 0, 1, 9], None),
        ([0, 0, float("nan"), 10], "finite"),
        ([0, 0, float("inf"), 10], "finite"),
        ([100, 0, 120, 10], "outside the image, which is 100x50"),
        ([0, -20, 10, -1], "outside"),
        ([-1e9, -1e9, 1e9, 1e9], "more than 10 times as large as the image, which is 100x50"),
        ([-1e308, 0, 1e308, 1], "more than 10 times"),
    ],
)
def test_box_problem(box, problem):
    found = box_problem(np.array(box, dtype=float), 100, 50)
    assert (found is None) if problem is None else (problem in found)


@pytest.mark.parametrize("numbers", ["[1,2,3]", '"abc"', "[1,2,3,null]", "[NaN,0,1,1]", "[5,0,5,9]", "[[1,2],[3,4]]"])
def test_errors_of_bad_boxes_name_file_key_and_box(tmp_path, numbers):
    path = write(tmp_path, "b.json", f'{{"good": [0,0,9,9], "bad": {numbers}}}')
    with pytest.raises(InputError, match=r"b\.json: the box .* of bad") as caught:
        Boxes(path)
    assert "\n" not in str(caught.value)


def test_errors_of_boxes_outside_the_image_name_file_key_and_box(tmp_path):
    boxes = Boxes(write(tmp_path, "b.json", '{"a": [200, 0, 220, 20]}'))
    with pytest.raises(
        InputError, match=r"b\.json: the box \[200\.0, 0\.0, 220\.0, 20\.0\] of a lies outside.*100x100"
    ):
        boxes.get("a", 100, 100)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.json", "{", "not JSON"),
        ("b.json", "[1]", "give an object"),
        ("b.json", "{}", "holds no box"),
        ("b.json", '{"a": [0, 0, 20, 20], "a": [100, 100, 120, 120]}', "the key 'a' occurs twice"),
        ("b.json", "[" * 100_000, "nested too deeply"),
        ("b.json", f'{{"a": [0, 0, 1{"0" * 400}, 9]}}', "is not four numbers"),
        ("b.json", f'{{"a": [0, 0, 1{"0" * 5000}, 9]}}', "not JSON"),
        ("b.txt", "", r"give a \.json or \.csv"),
        ("b.csv", "key,x0,y0,x1\na,1,2,3\n", "lacks y1"),
        ("b.csv", "", "lacks key"),
        ("b.csv", "key,x0,y0,x1,y1\na,1,2,3,4\na,1,2,3,4\n", "the key a occurs twice"),
        ("b.csv", "key,x0,y0,x1,y1\na,1,2,3\n", "of a is not finite"),
        ("b.csv", "key,x0,y0,x1,y1,hand\na,1,2,3,4,both\n", "neither left nor right"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        Boxes(write(tmp_path, name, text))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Boxes(tmp_path / "absent.json")


def test_keys_in_decomposed_unicode(tmp_path):
    composed, decomposed = "h\u00e4nde", unicodedata.normalize("NFD", "h\u00e4nde")
    boxes = Boxes(write(tmp_path, "b.json", json.dumps({decomposed: [0, 0, 9, 9]})))
    assert all(boxes.get(key, 9, 9) is not None for key in (composed, decomposed))
    both = json.dumps({composed: [0, 0, 9, 9], decomposed: [0, 0, 9, 9]})
    with pytest.raises(InputError, match="two keys differ in their form of Unicode only"):
        Boxes(write(tmp_path, "b.json", both))
