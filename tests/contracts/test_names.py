import json
import os
import unicodedata

import numpy as np

from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.keypoint_set import KeypointSet

LATIN = os.fsdecode(b"Mu\xf1oz")  # not UTF-8


def test_json_keeps_names_that_are_not_utf8():
    content = {LATIN: "h\u00e4nde"}
    assert json.loads(json_bytes(content).decode("utf-8")) == content


def test_npz_keeps_names_that_are_not_utf8(tmp_path):
    KeypointSet(np.array([LATIN]), uv_px=np.zeros((1, 1, 2))).save(tmp_path / "x.npz")
    assert KeypointSet.load(tmp_path / "x.npz").key.tolist() == [LATIN]


def test_decomposed_keys_are_loaded_composed(tmp_path):
    KeypointSet(np.array([unicodedata.normalize("NFD", "h\u00e4nde")]), uv_px=np.zeros((1, 1, 2))).save(
        tmp_path / "x.npz"
    )
    assert KeypointSet.load(tmp_path / "x.npz").key.tolist() == ["h\u00e4nde"]


def test_names_of_255_bytes_are_written(tmp_path):
    write_atomically(tmp_path / f"{'x' * 251}.jpg", b"1")
    write_atomically(tmp_path / f"{'手' * 83}.jpg", b"2")
    assert sorted(len(os.fsencode(path.name)) for path in tmp_path.iterdir()) == [253, 255]
