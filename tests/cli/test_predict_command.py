import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data.on_disk import truncate, write_image, write_video
from deployment.rigged import small_model
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.doctor import Finding
from posebridge.deployment.predictor import PosePredictor


@pytest.fixture
def model(tmp_path):
    small_model(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def images(tmp_path):
    for i in range(3):
        write_image(tmp_path / "in" / f"{i}.jpg", 120, 90, seed=i)
    truncate(tmp_path / "in" / "1.jpg")
    return tmp_path / "in"


def predict(*arguments) -> int:
    return main(["predict", *map(str, arguments), "--device", "cpu"])


def test_images(model, images, tmp_path, capsys):
    assert predict(model, images, "--out", tmp_path / "out", "--hand", "left", "--overlays", 1) == 0
    found = KeypointSet.load(tmp_path / "out" / "predictions.npz")
    assert found.key.tolist() == ["0", "2"]
    assert np.isfinite(found.uv_px).all()
    assert json.loads((tmp_path / "out" / "skipped.json").read_text())["skipped"] == 1
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"2 frames in {tmp_path / 'out' / 'predictions.npz'}, 1 of them drawn")
    (line,) = (line for line in printed if "skipped 1" in line)
    assert str(images / "1.jpg") in line


def test_video_with_intrinsics(model, tmp_path):
    write_video(tmp_path / "clip.mp4", frames=6)
    flags = ("--intrinsics", 100, 100, 31.5, 23.5, "--every", 2, "--batch-size", 2)
    assert predict(model / "model.safetensors", tmp_path / "clip.mp4", "--out", tmp_path / "out", *flags) == 0
    found = KeypointSet.load(tmp_path / "out" / "predictions.npz")
    assert found.key.tolist() == ["clip_000000", "clip_000002", "clip_000004"]
    u = 100 * found.xyz_mm[..., 0] / found.xyz_mm[..., 2] + 31.5
    np.testing.assert_allclose(u, found.uv_px[..., 0], atol=0.05)
    assert (tmp_path / "out" / "overlays" / "clip.mp4").is_file()


def test_unreadable_images_are_one_line(model, images, tmp_path):
    for file in images.iterdir():
        truncate(file, 0.05)
    command = [
        sys.executable,
        "-m",
        "posebridge.cli.main",
        "predict",
        str(model),
        str(images),
        "--out",
        str(tmp_path / "new"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: none of 3 images can be read")
    assert done.stderr.count("\n") == 1


def test_sigterm_keeps_what_was_predicted(model, images, tmp_path, capsys, monkeypatch):
    real, calls = PosePredictor.predict_crops, []

    def terminated_at_the_second_batch(predictor, crops):
        calls.append(crops)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(predictor, crops)

    monkeypatch.setattr(PosePredictor, "predict_crops", terminated_at_the_second_batch)
    assert predict(model, images, "--out", tmp_path / "out", "--batch-size", 1) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "terminated: finished results are on disk"
    assert len(KeypointSet.load(tmp_path / "out" / "predictions.partial.npz")) == 1


def test_refusals_are_one_line(model, images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "boxes.json").write_text(json.dumps({"0": [500, 500, 600, 600]}))
    for arguments in (
        (tmp_path, images, "--out", tmp_path / "out"),
        (model, tmp_path / "absent", "--out", tmp_path / "out"),
        (model, images, "--out", tmp_path / "file"),
        (model, images, "--out", tmp_path / "out", "--boxes", tmp_path / "boxes.json"),
        (model, images, "--out", tmp_path / "out", "--intrinsics", 0, 1, 2, 3),
        (model, images, "--out", tmp_path / "out", "--batch-size", 0),
    ):
        assert predict(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1


def test_doctor(capsys, monkeypatch):
    started = time.perf_counter()
    assert main(["doctor"]) == 0
    assert time.perf_counter() - started < 5
    assert all(line[:8].strip() in ("ok", "missing") for line in capsys.readouterr().out.splitlines())
    broken = [Finding("disk", "ok", "100 GB free"), Finding("torch", "broken", "gone", "install it again")]
    monkeypatch.setattr("posebridge.deployment.doctor.examine", lambda: iter(broken))
    assert main(["doctor"]) == 2
    captured = capsys.readouterr()
    assert "broken  torch         gone; install it again" in captured.out
    assert captured.err == "error: broken: torch; see the lines above\n"
