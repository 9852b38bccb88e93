"""``predict`` where a detector finds the subjects: a detector of coloured discs, and a network that finds them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deployment.rigged import SPEC, DotFinder, truth_of
from deployment.test_predict_files import dots_of, write_dots, write_dots_video
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import predict_files as module
from posebridge.deployment import torch_crops
from posebridge.deployment.detections import Detections
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.one_euro import OneEuroFilter
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.errors import InputError

RATE = 12  # frames a second


class DiscDetector:
    """Boxes around everything that isn't black, a left hand."""

    def __init__(self):
        self.runs = 0

    def detect(self, image: np.ndarray) -> Detections:
        self.runs += 1
        v, u = np.nonzero(image.max(axis=2) > 60)
        if len(u) == 0:
            return Detections(np.zeros((0, 4)), np.zeros(0), ())
        box = np.array([[u.min() - 8, v.min() - 8, u.max() + 8, v.max() + 8]], float)
        return Detections(box, np.array([0.9]), ("left",))


@pytest.fixture
def detector(monkeypatch) -> DiscDetector:
    found = DiscDetector()
    monkeypatch.setattr(torch_crops, "load_model", lambda path, kind: LoadedModel(kind, SPEC, DotFinder()))
    monkeypatch.setattr(module, "target_detector", lambda config, kind: found)
    return found


def _config(source: Path, out: Path, **options) -> PredictConfig:
    return PredictConfig(Path("model"), TargetConfig(source), out, device="cpu", overlays=0, **options)


def test_images_are_cropped_around_detections(detector, tmp_path):
    write_dots(tmp_path / "in", 3)
    Image.new("RGB", (120, 90)).save(tmp_path / "in" / "view.9.png")
    done = predict_files(_config(tmp_path / "in", tmp_path / "out"))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == [f"view.{i}" for i in range(3)]
    for i in range(3):
        np.testing.assert_allclose(found.uv_px[i], truth_of(dots_of(i)), atol=0.5)
    assert done.skipped == {"view.9": "no subject was detected"}
    assert detector.runs == 4


def test_subjects_of_one_frame_are_counted_and_drawn_together(detector, tmp_path, monkeypatch):
    write_dots(tmp_path / "in", 2)
    one = detector.detect

    def twice(image: np.ndarray) -> Detections:
        boxes = one(image).boxes_xyxy
        return Detections(np.concatenate([boxes, boxes]), np.array([0.9, 0.8]), ("left", "left"))

    monkeypatch.setattr(detector, "detect", twice)
    done = predict_files(replace(_config(tmp_path / "in", tmp_path / "out"), overlays=None))
    keys = [f"view.{i}{subject}" for i in range(2) for subject in ("", "_subject1")]
    assert KeypointSet.load(done.predictions).key.tolist() == keys
    assert (done.frames, done.subjects, done.overlays) == (2, 4, 2)
    assert str(done).splitlines()[0].endswith("2 of them drawn in " + str(tmp_path / "out" / "overlays; 4 subjects"))


def test_boxes_of_videos_follow_the_joints(detector, tmp_path):
    write_dots_video(tmp_path / "in" / "clip.mp4", 9, RATE)
    done = predict_files(_config(tmp_path / "in" / "clip.mp4", tmp_path / "out"))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == [f"clip_{i:06d}" for i in range(9)]
    for i in range(9):
        np.testing.assert_allclose(found.uv_px[i], truth_of(dots_of(i)), atol=1.0)
    assert detector.runs == 1  # the joints are found in every frame


def test_smoothed_joints_are_those_of_the_filter(detector, tmp_path):
    write_dots_video(tmp_path / "in" / "clip.mp4", 6, RATE)
    raw, smooth = (
        KeypointSet.load(predict_files(_config(tmp_path / "in", tmp_path / name, smooth=name == "smooth")).predictions)
        for name in ("raw", "smooth")
    )
    one_euro = OneEuroFilter()
    expected = np.stack([one_euro(uv_px, i / RATE) for i, uv_px in enumerate(raw.uv_px)])
    np.testing.assert_allclose(smooth.uv_px, expected, atol=1e-3)
    assert np.abs(smooth.uv_px - raw.uv_px).max() > 1


def test_smoothing_needs_followed_videos(detector, tmp_path):
    write_dots(tmp_path / "in", 1)
    with pytest.raises(InputError, match="leave --smooth out"):
        predict_files(_config(tmp_path / "in", tmp_path / "out", smooth=True))


def test_no_subject_at_all(detector, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (120, 90)).save(tmp_path / "in" / "a.png")
    with pytest.raises(InputError, match=r"no frame can be predicted; .*skipped\.json lists the reasons"):
        predict_files(_config(tmp_path / "in", tmp_path / "out"))


def test_boxes_and_a_detector_together_are_refused(tmp_path):
    write_dots(tmp_path / "in", 1)
    target = TargetConfig(tmp_path / "in", boxes=tmp_path / "boxes.csv", detector=tmp_path / "detector")
    (tmp_path / "boxes.csv").write_text("key,x0,y0,x1,y1\nview.0,35,10,100,72\n")
    with pytest.raises(InputError, match="are both given: leave one of them out"):
        module.target_detector(target, "hand")
