"""Recordings for the Rerun viewer, read back by Rerun's own reader."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.rendered_depth import hands, write_archive
from deployment.depth_hands import save_small, true_hands
from deployment.recordings import read
from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.cli.main import main
from posebridge.contracts.batch import LabelledBatch
from posebridge.deployment.space_view import RECORDING, SpaceView
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from training.hands import CUBE_M

FACES = AnnyHand().faces(torch.device("cpu"))


@pytest.fixture(scope="module")
def batch() -> LabelledBatch:
    """Two moments, three views each."""
    return hands()


def record(path: Path, *batches: LabelledBatch) -> dict[str, dict[int, np.ndarray]]:
    """Contents of a recording of the hands of these batches."""
    with SpaceView(path, FACES, HAND21, CUBE_M) as view:
        for batch in batches:
            view.add(batch.unlabelled(), true_hands(batch))
    return read(path)


def test_recording_contains_hands_points_and_cameras(batch, tmp_path):
    found = record(tmp_path / RECORDING, batch[:3], batch[3:])
    for i in range(len(batch)):
        camera, moment = f"/camera_{int(batch.view[i])}", i // 3
        np.testing.assert_allclose(found[f"{camera}/pose/joints/positions"][moment], batch.joints_m[i], atol=1e-6)
        np.testing.assert_allclose(
            found[f"{camera}/pose/mesh/vertex_positions"][moment], batch.vertices_m[i], atol=1e-6
        )
        np.testing.assert_array_equal(found[f"{camera}/pose/mesh/triangle_indices"][-1], FACES)
        bones = found[f"{camera}/pose/bones/strips"][moment]
        np.testing.assert_allclose(bones[0, 1], batch.joints_m[i, HAND21.bones[0][1]], atol=1e-6)
        points = found[f"{camera}/measured/positions"][moment]
        assert len(points) == ((batch.depth_m[i] - batch.centre_m[i, 2]).abs() < CUBE_M / 2).sum()
        np.testing.assert_array_less(np.abs(points[:, 2] - batch.centre_m[i, 2].item()), CUBE_M / 2 + 1e-6)
        assert found[f"{camera}/key/text"][moment] == [batch.key[i]]


def test_calibrated_cameras_agree_in_the_world(batch, tmp_path):
    found = record(tmp_path / RECORDING, batch)
    world = []
    for view in range(3):
        R = found[f"/camera_{view}/mat3x3"][1].reshape(3, 3).T  # Rerun's matrices are column-major
        world.append(found[f"/camera_{view}/pose/joints/positions"][1] @ R.T + found[f"/camera_{view}/translation"][1])
    np.testing.assert_allclose(world[1], world[0], atol=1e-4)
    np.testing.assert_allclose(world[2], world[0], atol=1e-4)


def test_one_camera_is_the_worlds_origin(batch, tmp_path):
    found = record(tmp_path / RECORDING, replace(batch[:1], T_world_cam=None, view=None))
    assert "/camera_0/translation" not in found
    assert [*found["/camera_0/pose/joints/positions"]] == [0]


def test_view_3d_flag(batch, tmp_path):
    save_small(tmp_path / "model")
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=None)
    typed = ["predict-depth", str(tmp_path / "model"), str(file), "--out", str(tmp_path / "out"), "--overlays", "0"]
    assert main([*typed, "--view-3d"]) == 0
    joints = read(tmp_path / "out" / RECORDING)["/camera_0/pose/joints/positions"]
    predicted = np.load(tmp_path / "out" / "predictions.npz")["xyz_mm"]
    np.testing.assert_allclose(joints[0], predicted[0] / 1000, atol=1e-6)


def test_missing_rerun_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'posebridge\[view\]'"):
        SpaceView(tmp_path / RECORDING, FACES, HAND21, CUBE_M)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        SpaceView(tmp_path / "nowhere" / RECORDING, FACES, HAND21, CUBE_M)
