import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from posebridge import npz_files
from posebridge.npz_files import ArrayFileError, load_npy, load_npz

ARRAYS = {"key": np.array(["a", "b"]), "uv_px": np.arange(12.0).reshape(2, 3, 2), "K": np.array(5, np.uint16)}


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    """An ``.npy`` file without numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("uv_px.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS, order=np.asfortranarray(np.eye(3, 5)))
    loaded = load_npz(tmp_path / "a.npz")
    assert loaded.keys() == {*ARRAYS, "order"}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    np.testing.assert_array_equal(loaded["order"], np.eye(3, 5))
    assert list(load_npz(tmp_path / "a.npz", ["K", "absent"])) == ["K"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((10**10,)) + bytes(80), "needs 80,000,000,000 bytes and has 80"),
        (header((-1,)), "needs -8 bytes"),
        (header((2,), "<U100000000"), "needs 800,000,000 bytes"),
        (header((1,), "|O") + bytes(8), "Python objects, which are never loaded"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "declares a header of 2,147,483,647 bytes"),
        (header((1,), "<f8")[:30], "not a readable"),
        (b"text", "not a readable"),
        (b"", "not a readable"),
    ],
)
def test_sizes_and_types_are_checked_before_reading(tmp_path, content, message):
    with pytest.raises(ArrayFileError, match=message):
        load_npz(archive(tmp_path / "a.npz", content))
    with pytest.raises(ArrayFileError, match=message):
        load_npy(io.BytesIO(content))


def test_records_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", uv_px=np.zeros(2, [("x", "f4"), ("y", "f4")]))
    with pytest.raises(ArrayFileError, match="not plain: its array uv_px"):
        load_npz(tmp_path / "a.npz")


def test_more_than_half_of_the_memory(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", uv_px=np.zeros(1000))
    monkeypatch.setattr(npz_files, "_memory_bytes", lambda: 15_000)
    with pytest.raises(ArrayFileError, match="more than half of the memory"):
        load_npz(tmp_path / "a.npz")
    assert load_npz(tmp_path / "a.npz", ["key"]) == {}


def test_zeros_that_fill_the_memory(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", uv_px=np.zeros(1_000_000))
    assert load_npz(tmp_path / "a.npz")["uv_px"].shape == (1_000_000,)
    monkeypatch.setattr(npz_files, "_ALWAYS_READ", 1_000_000)
    with pytest.raises(ArrayFileError, match=r"unpacks from 0.00\d+ MB to 0.008 GB"):
        load_npz(tmp_path / "a.npz")


def test_a_container_has_its_own_limit(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", uv_px=np.zeros(1000))
    monkeypatch.setattr(npz_files, "_CONTAINER_LIMIT", tmp_path / "memory.max")
    for limit in ("max\n", "17179869184\n"):
        (tmp_path / "memory.max").write_text(limit)
        assert load_npz(tmp_path / "a.npz")["uv_px"].shape == (1000,)
    (tmp_path / "memory.max").write_text("15000\n")
    with pytest.raises(ArrayFileError, match="more than half of the memory"):
        load_npz(tmp_path / "a.npz")


def test_no_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ArrayFileError, match="holds a single array"):
        load_npz(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "b.npz")
