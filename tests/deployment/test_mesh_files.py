import errno
import io
import shutil
import zipfile

import numpy as np
import pytest

from posebridge.deployment.mesh_files import open_meshes, ply, save_meshes
from posebridge.deployment.mesh_set import MeshSet, join_meshes
from posebridge.errors import InputError

VERTICES, JOINTS = 778, 21
FACES = np.arange(30).reshape(10, 3)


def batches(count: int, size: int = 4) -> list[MeshSet]:
    draw = np.random.default_rng(1)
    return [
        MeshSet(
            np.array([f"clip-{i}-{n}" for n in range(size)]),
            draw.normal(size=(size, VERTICES, 3)).astype(np.float32),
            draw.normal(size=(size, JOINTS, 3)).astype(np.float32),
            np.full(size, np.nan, np.float32),
            FACES,
        )
        for i in range(count)
    ]


def members(content) -> dict[str, bytes]:
    with zipfile.ZipFile(content) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_archive_equals_numpys(tmp_path):
    parts = [*batches(11), *batches(1, size=1)]
    expected = io.BytesIO()
    np.savez_compressed(expected, allow_pickle=False, **vars(join_meshes(parts)))
    with open_meshes(tmp_path, "npz") as files:
        for part in parts:
            files.add(part)
        assert files.finish() == {tmp_path / "meshes.npz"}
    assert members(tmp_path / "meshes.npz") == members(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["meshes.npz"]


def test_meshes_are_written_as_they_come(tmp_path):
    (part,) = batches(1)
    with open_meshes(tmp_path, "ply") as files:
        files.add(part)
        written = {tmp_path / "meshes" / f"{key}.ply" for key in part.key}
        assert {*(tmp_path / "meshes").iterdir()} == written
        assert files.finish() == written
    assert (tmp_path / "meshes" / "clip-0-3.ply").read_bytes() == ply(part.vertices_mm[3], FACES)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    save_meshes(batches(1)[0], tmp_path)
    before = (tmp_path / "meshes.npz").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(InputError, match=r"cannot write .*meshes.npz: No space left on device; free some space"):
        save_meshes(batches(2)[1], tmp_path)
    assert (tmp_path / "meshes.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["meshes.npz"]


def test_no_frames_give_no_file(tmp_path):
    with open_meshes(tmp_path, "npz") as files:
        assert files.finish() == set()
    assert not [*tmp_path.iterdir()]
