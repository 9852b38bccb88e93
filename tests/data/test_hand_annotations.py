import random

import numpy as np
import pytest

from posebridge.data.datasets.annotations import PresentFiles, project, read_json
from posebridge.data.datasets.hand_annotations import adaptation_split, checked_camera
from posebridge.errors import InputError


@pytest.mark.parametrize("row", range(4))
def test_impossible_cameras(row):
    K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    np.testing.assert_array_equal(checked_camera(K, "x"), K)
    change = [(0, 0, 0.0), (1, 1, -300.0), (0, 2, np.nan), (2, 2, 0.0)][row]
    K[change[0], change[1]] = change[2]
    with pytest.raises(InputError, match=r"image 7: the intrinsics .* are impossible"):
        checked_camera(K, "image 7")


def test_projection_by_hand():
    K = np.array([[300.0, 0, 160], [0, 200, 120], [0, 0, 1]])
    np.testing.assert_allclose(project(np.array([[0.1, -0.2, 0.5]]), K), [[220, 40]])


@pytest.mark.parametrize(("count", "test"), [(10, 2), (14, 2), (20000, 3200)])
def test_the_split_is_that_of_pythons_shuffle(count, test):
    samples = [f"image {i}" for i in range(count)]
    random.seed(42)
    random.shuffle(samples)
    assert {f"image {i}" for i in adaptation_split(count, "test")} == set(samples[:test])
    assert {f"image {i}" for i in adaptation_split(count, "train")} == set(samples[test:])
    assert adaptation_split(count, "all") == list(range(count))


def test_existing_files_are_found(tmp_path):
    (tmp_path / "a.png").touch()
    present = PresentFiles()
    assert tmp_path / "a.png" in present
    assert tmp_path / "b.png" not in present
    assert tmp_path / "none" / "a.png" not in present


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[" * 10**5, "not JSON"), ("\xff", "not JSON")])
def test_damaged_json(tmp_path, text, message):
    (tmp_path / "a.json").write_bytes(text.encode("latin1"))
    with pytest.raises(InputError, match=rf"a\.json: {message}"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"b\.json: .*without labels, open the folder of images"):
        read_json(tmp_path / "b.json")
