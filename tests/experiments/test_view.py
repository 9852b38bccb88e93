"""Recordings of predictions and runs, read back by Rerun's own reader and checked by its command."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from data.rendered_depth import hands, write_rig
from deployment.depth_hands import save_small
from deployment.recordings import read
from deployment.rigged import SPEC, DotFinder, draw_dots
from deployment.test_predict_files import DOTS, write_dots, write_dots_video
from posebridge.cli.main import main
from posebridge.contracts.config_file import as_yaml
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import torch_crops
from posebridge.deployment.model_file import LoadedModel
from posebridge.errors import InputError
from posebridge.experiments import view as module
from posebridge.experiments.configs import AdaptConfig
from posebridge.experiments.view import open_viewer, record_view


@pytest.fixture
def dots(monkeypatch):
    """The model finds the joints by construction."""
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], SPEC, DotFinder()))


def predict(*typed) -> None:
    assert main(["predict", "model", *map(str, typed), "--device", "cpu", "--overlays", "0"]) == 0


def is_valid(file: Path) -> bool:
    command = [sys.executable, "-m", "rerun", "rrd", "verify", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_images_are_upright_with_boxes_and_skeletons(dots, tmp_path):
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 7
    Image.fromarray(draw_dots(120, 90, DOTS)).save(tmp_path / "in" / "a.png", exif=exif)
    (tmp_path / "boxes.json").write_text(json.dumps({"a": [1, 2, 89, 118]}))
    flags = ("--boxes", tmp_path / "boxes.json", "--intrinsics", 100, 100, 60, 45)
    predict(tmp_path / "in", "--out", tmp_path / "out", *flags)
    recorded = record_view(tmp_path / "out")
    assert (recorded.poses, recorded.with_frames, recorded.note) == (1, 1, "")
    assert is_valid(recorded.file)
    found = read(recorded.file)
    shown = cv2.imdecode(found["/camera_0/image/blob"][0].reshape(-1).astype(np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    with Image.open(tmp_path / "in" / "a.png") as photo:
        upright = np.asarray(ImageOps.exif_transpose(photo))
    assert shown.shape == upright.shape == (120, 90, 3)
    assert np.abs(shown.astype(int) - upright).mean() < 3
    joints = found["/camera_0/image/joints/positions"][0]
    red = np.argwhere(upright[..., 0] > 200).mean(0)[::-1]
    np.testing.assert_allclose(joints[0], red, atol=0.6)
    # Joints in space project onto those in the picture.
    K = found["/camera_0/image/image_from_camera"][0].reshape(3, 3).T
    projected = found["/camera_0/pose/joints/positions"][0] @ K.T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], joints, atol=0.05)
    centre, half = found["/camera_0/image/box/centers"][0].reshape(-1), found["/camera_0/image/box/half_sizes"][0]
    np.testing.assert_allclose([*(centre - half.reshape(-1)), *(centre + half.reshape(-1))], [1, 2, 89, 118])
    predicted = KeypointSet.load(tmp_path / "out" / "predictions.npz")
    np.testing.assert_array_equal(found["/camera_0/confidence/scalars"][0], predicted.confidence[0])


def test_videos_one_after_the_other(dots, tmp_path):
    write_dots_video(tmp_path / "in" / "b.mp4", 4)
    write_dots_video(tmp_path / "in" / "a.mp4", 3)
    predict(tmp_path / "in", "--out", tmp_path / "out", "--every", 2)
    found = read(record_view(tmp_path / "out").file)
    keys = [str(found["/camera_0/key/text"][moment][0]) for moment in range(4)]
    assert keys == ["a_000000", "a_000002", "b_000000", "b_000002"]
    assert [*found["/camera_0/image/blob"]] == [0, 1, 2, 3]
    thinned = read(record_view(tmp_path / "out", tmp_path / "thin.rrd", every=3).file)
    assert [str(text[0]) for text in thinned["/camera_0/key/text"].values()] == ["a_000000", "b_000002"]


def test_a_runs_folder(dots, tmp_path):
    """The frames of a run's config, as those of a prediction's."""
    write_dots(tmp_path / "in", 2)
    predict(tmp_path / "in", "--out", tmp_path / "run")
    (tmp_path / "run" / "predict.yaml").unlink()
    config = AdaptConfig(method="mean-teacher", target=TargetConfig(tmp_path / "in"))
    (tmp_path / "run" / "config.yaml").write_text(as_yaml("adapt", config))
    assert record_view(tmp_path / "run").with_frames == 2


def test_frames_that_are_gone_leave_poses(dots, tmp_path, capsys):
    write_dots(tmp_path / "in", 2)
    predict(tmp_path / "in", "--out", tmp_path / "out")
    (tmp_path / "in").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["view", str(tmp_path / "out"), "--out", str(tmp_path / "file.rrd")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"2 poses in {tmp_path / 'file.rrd'}, 2 of them without their frame"
    assert printed[1].startswith("frames can't be read again:")
    assert len(printed) == 2
    assert len(read(tmp_path / "file.rrd")["/camera_0/image/joints/positions"]) == 2


def test_depth_of_calibrated_cameras_with_meshes(tmp_path):
    batch = hands()
    save_small(tmp_path / "model")
    rig = write_rig(tmp_path / "rig", batch)
    typed = ["predict-depth", str(tmp_path / "model"), str(rig), "--out", str(tmp_path / "out"), "--overlays", "0"]
    assert main([*typed, "--depth-unit-mm", "0.1", "--formats", "coco", "csv", "glb"]) == 0
    recorded = record_view(tmp_path / "out")
    assert is_valid(recorded.file)
    found = read(recorded.file)
    predicted, meshes = (np.load(tmp_path / "out" / name) for name in ("predictions.npz", "meshes.npz"))
    keys = predicted["key"].tolist()
    assert recorded.with_frames == len(keys) > 3
    first = {view: str(found[f"/camera_{view}/key/text"][0][0]) for view in range(3)}
    assert first == {0: "left/7", 1: "middle/7", 2: "right/7"}
    world = []
    for view, key in first.items():
        row = keys.index(key)
        joints = found[f"/camera_{view}/pose/joints/positions"][0]
        np.testing.assert_allclose(joints, predicted["xyz_mm"][row] / 1000, atol=1e-6)
        vertices = found[f"/camera_{view}/pose/mesh/vertex_positions"][0]
        np.testing.assert_allclose(vertices, meshes["vertices_mm"][row] / 1000, atol=1e-6)
        R = found[f"/camera_{view}/mat3x3"][0].reshape(3, 3).T
        world.append(joints @ R.T + found[f"/camera_{view}/translation"][0])
        points = found[f"/camera_{view}/measured/positions"][0]
        gap = np.linalg.norm(points[:, None] - batch.vertices_m[view].numpy(), axis=-1).min(1)
        assert np.median(gap) < 0.01
    np.testing.assert_allclose(world[1], world[0], atol=1e-3)  # fused views show one hand
    coco = json.loads((tmp_path / "out" / "coco_annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"{key}.png" for key in keys]
    assert all((rig / image["file_name"]).is_file() for image in coco["images"])
    animations = {path.name for path in (tmp_path / "out").glob("*.glb")}
    assert animations == {f"predictions.view{view}.glb" for view in range(3)}


def test_refusals(dots, tmp_path, monkeypatch, capsys):
    assert main(["view", str(tmp_path)]) == 2
    assert "predictions.npz does not exist" in capsys.readouterr().err
    assert main(["view", str(tmp_path), "--every", "0"]) == 2
    capsys.readouterr()
    KeypointSet(np.array(["a"]), ("tip", "toe"), np.array([[[3.0, 90.0], [5.0, 7.0]]])).save(
        tmp_path / "predictions.npz"
    )
    with pytest.raises(InputError, match="of no skeleton"):
        record_view(tmp_path)
    write_dots(tmp_path / "in", 1)
    predict(tmp_path / "in", "--out", tmp_path / "out")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    capsys.readouterr()
    assert main(["view", str(tmp_path / "out")]) == 2
    assert "pip install 'posebridge[view]'" in capsys.readouterr().err


def test_the_viewer_is_opened_where_there_is_a_display(dots, tmp_path, monkeypatch, capsys):
    write_dots(tmp_path / "in", 1)
    predict(tmp_path / "in", "--out", tmp_path / "out")
    capsys.readouterr()
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    opened: list[list[str]] = []
    result = subprocess.CompletedProcess([], 0, stderr=b"")
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: opened.append(command) or result)
    file = tmp_path / "out" / "view.rrd"
    assert main(["view", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"1 poses in {file}", "no display here: open the file where there is one: rerun view.rrd"]
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_viewer(file) == ""
    assert opened == [[sys.executable, "-m", "rerun", str(file)]]
    result.returncode, result.stderr = 1, b"trace\nno adapter found\n"
    assert "(no adapter found)" in open_viewer(file)
