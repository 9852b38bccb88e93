"""Names and orientations of files through ``predict``, to the end of its outputs."""

import io
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.cli.main import main
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import torch_crops
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.skeletons.joint_colours import joint_rgb

DOTS = np.array([[70.3, 62.8], [45.6, 30.2], [82.1, 25.4]])


@pytest.fixture(autouse=True)
def rigged(monkeypatch):
    """The model is right by construction."""
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], SPEC, DotFinder()))


def predicted(source: Path, out: Path):
    return predict_files(PredictConfig(Path("model"), TargetConfig(source), out, device="cpu"))


def write_dots(path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_dots(120, 90, DOTS)).save(path, **options)


def test_predictions_are_stored_pixels_and_overlays_upright(tmp_path):
    exif = Image.Exif()
    for value in range(1, 9):
        exif[0x0112] = value
        write_dots(tmp_path / "in" / f"{value}.png", exif=exif)
    done = predicted(tmp_path / "in", tmp_path / "out")
    found = KeypointSet.load(done.predictions)
    np.testing.assert_allclose(found.uv_px, np.tile(truth_of(DOTS), (8, 1, 1)), atol=0.5)
    assert "7 files carry an orientation" in str(done)
    for value in range(1, 9):
        with Image.open(tmp_path / "in" / f"{value}.png") as photo:
            upright = np.asarray(ImageOps.exif_transpose(photo)).astype(float)
        drawn = cv2.imread(str(tmp_path / "out" / "overlays" / f"{value}.jpg"))[..., ::-1].astype(float)
        factor = drawn.shape[0] // upright.shape[0]
        assert drawn.shape == (factor * upright.shape[0], factor * upright.shape[1], 3)
        v, u = (factor * np.argwhere(upright[..., 0] > 200).mean(axis=0) + factor / 2).round().astype(int)
        np.testing.assert_allclose(drawn[v, u], joint_rgb("wrist"), atol=40)


def test_names_that_are_not_utf8_reach_every_output(tmp_path, monkeypatch):
    good, broken = (os.fsdecode(name) for name in (b"Mu\xf1oz", b"ni\xf1o"))
    write_dots(tmp_path / "in" / f"{good}.png")
    (tmp_path / "in" / f"{broken}.jpg").touch()
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["predict", "model", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    out.flush()
    assert rb"ni\xf1o.jpg: not an image" in out.buffer.getvalue()
    assert KeypointSet.load(tmp_path / "out" / "predictions.npz").key.tolist() == [good]
    assert (tmp_path / "out" / "overlays" / f"{good}.jpg").is_file()
    reasons = json.loads((tmp_path / "out" / "skipped.json").read_text(encoding="utf-8"))["reasons"]
    assert list(reasons) == [str(tmp_path / "in" / f"{broken}.jpg")]


def test_names_of_250_characters(tmp_path):
    write_dots(tmp_path / "in" / f"{'x' * 250}.png")
    assert predicted(tmp_path / "in", tmp_path / "out").overlays == 1


def test_errors_are_one_line_without_marks_of_direction(tmp_path, capsys):
    assert main(["predict", "model", f"{tmp_path}/a\u202egpj\nb", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert r"a\u202egpj\nb: no such file or folder" in error
