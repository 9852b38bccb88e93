from pathlib import Path

import numpy as np
import pytest

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError

GOOD = {
    "key": np.array(["a", "b", "c"]),
    "joint_names": np.array(["wrist", "thumb_1"]),
    "uv_px": np.arange(12.0).reshape(3, 2, 2),
    "xyz_mm": np.ones((3, 2, 3), np.float32),
    "confidence": np.full((3, 2), 0.5),
    "K": np.ones((3, 4)),
}


def written(folder: Path, **changes) -> Path:
    arrays = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    np.savez(folder / "keypoints.npz", **arrays)
    return folder / "keypoints.npz"


def test_survives_saving_and_loading(tmp_path):
    keypoints = KeypointSet.load(written(tmp_path, valid=np.array([[1, 0], [1, 1], [0, 0]])))
    keypoints.save(tmp_path / "again.npz")
    again = KeypointSet.load(tmp_path / "again.npz")
    assert again.joint_names == ("wrist", "thumb_1")
    for name in ("key", "uv_px", "xyz_mm", "confidence", "valid", "K"):
        np.testing.assert_array_equal(getattr(again, name), getattr(keypoints, name))
    assert again.uvd is None
    assert (len(again), again.n_joints) == (3, 2)


def test_optional_names_and_other_types_of_keys(tmp_path):
    keypoints = KeypointSet.load(written(tmp_path, joint_names=None, key=np.array([3, 1, 2])))
    assert keypoints.joint_names is None
    assert keypoints.key.tolist() == ["3", "1", "2"]
    assert KeypointSet.load(written(tmp_path, key=np.array([b"x", b"y", b"z"]))).key.tolist() == ["x", "y", "z"]


def test_present_needs_finite_numbers_and_valid(tmp_path):
    uv = GOOD["uv_px"].copy()
    uv[0, 1, 0] = np.nan
    keypoints = KeypointSet.load(written(tmp_path, uv_px=uv, valid=np.array([[1, 1], [1, 0], [1, 1]])))
    assert keypoints.present("uv_px").tolist() == [[True, False], [True, False], [True, True]]


def test_take_reorders_frames_and_joints(tmp_path):
    part = KeypointSet.load(written(tmp_path)).take(np.array([2, 0]), np.array([1]))
    assert part.key.tolist() == ["c", "a"]
    assert part.joint_names == ("thumb_1",)
    np.testing.assert_array_equal(part.uv_px, GOOD["uv_px"][[2, 0]][:, [1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": None}, "has no key"),
        ({"uv_px": None, "xyz_mm": None}, "has no joints: expected uv_px"),
        ({"key": np.array(["a", "b", "a"])}, "key holds 'a' more than once"),
        ({"joint_names": np.array(["wrist", "wrist"])}, "joint_names holds 'wrist' more than once"),
        ({"joint_names": np.array(["wrist"])}, "joint_names has 1 names, expected 2"),
        ({"key": np.array([], dtype=str)}, "holds no frame"),
        ({"key": np.array(["a", "b"])}, r"uv_px has shape \(3, 2, 2\), expected \(2, 2, 2\)"),
        ({"key": np.array([["a", "b", "c"]])}, "expected a list of names"),
        ({"uv_px": np.zeros((3, 2, 3))}, "uv_px has shape"),
        ({"uv_px": np.zeros((3, 4))}, "uv_px has shape"),
        ({"uv_px": np.zeros((3, 0, 2)), "joint_names": None}, "uv_px has shape"),
        ({"xyz_mm": np.zeros((3, 5, 3))}, "xyz_mm has shape"),
        ({"xyz_mm": np.full((3, 2, 3), np.nan)}, "xyz_mm has no finite joint"),
        ({"uv_px": GOOD["uv_px"] / 12}, "give pixels of the file, not fractions of the image"),
        ({"uvd": np.concatenate([GOOD["uv_px"] / 12, np.full((3, 2, 1), 500)], -1)}, "uvd lies within 0.917 of"),
        ({"uv_px": np.full((3, 2, 2), "x")}, "expected numbers"),
        ({"confidence": np.zeros(3)}, "confidence has shape"),
        ({"K": np.zeros((1, 4))}, "K has shape"),
        ({"key": np.array(["a", None, 3], dtype=object)}, "Python objects, which are never loaded"),
    ],
)
def test_defects_raise_one_line(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        KeypointSet.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["missing", "folder", "text", "empty", "single array", "cut off", "bytes changed"])
def test_files_that_are_no_npz(tmp_path, spoil):
    path = written(tmp_path)
    data = path.read_bytes()
    if spoil == "missing":
        path.unlink()
    elif spoil == "folder":
        path.unlink()
        path.mkdir()
    elif spoil == "single array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        middle = len(data) // 3
        path.write_bytes(
            {
                "text": b"key,uv\n1,2\n",
                "empty": b"",
                "cut off": data[: len(data) // 2],
                "bytes changed": data[:middle]
                + bytes(b ^ 0xFF for b in data[middle : middle + 40])
                + data[middle + 40 :],
            }[spoil]
        )
    with pytest.raises(InputError) as caught:
        KeypointSet.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
