"""``predict`` where a detector or the model itself finds the subjects."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from data.on_disk import write_pictures
from deployment.rectangles import RectangleFinder, picture
from deployment.rigged import SPEC, DotFinder, truth_of
from deployment.test_predict_files import dots_of, write_dots, write_dots_video
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import predict_files as module
from posebridge.deployment import torch_crops
from posebridge.deployment.detections import Detections
from posebridge.deployment.estimator import ImageEstimator
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.one_euro import OneEuroFilter
from posebridge.deployment.pose_search import PoseSearch
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.errors import InputError
from posebridge.experiments.target import load_target
from posebridge.skeletons.hand import HAND21

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
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], SPEC, DotFinder()))
    monkeypatch.setattr(module, "target_detector", lambda *_: found)
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
        module.target_detector(target, "hand", None)


@pytest.fixture
def rectangles(tmp_path):
    """A folder of two pictures, one of them empty, and a video of a moving left hand that is gone at its end."""
    for i, image in enumerate((picture((20, 30, 60, True), (210, 120, 80, False)), picture())):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / f"{i}.png")
    frames = [picture((40 + 2 * i, 60, 90, False)) for i in range(8)] + [picture()] * 2
    write_pictures(tmp_path / "clip.mp4", np.stack(frames))
    return tmp_path


@pytest.fixture
def finder(monkeypatch) -> RectangleFinder:
    found = RectangleFinder()
    monkeypatch.setattr(module, "load_crop_predictor", lambda *_, **__: found)
    return found


def test_a_model_that_states_its_least_confidence_searches(finder, rectangles):
    done = predict_files(_config(rectangles / "in", rectangles / "out"))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == ["0", "0_subject1"]
    assert done.skipped == {"1": "no subject was detected"}
    extents = sorted(found.uv_px.max(axis=1)[:, 0] - found.uv_px.min(axis=1)[:, 0])
    np.testing.assert_allclose(extents, [59, 79], atol=4)


def test_without_a_search_the_whole_frame_is_the_crop(finder, rectangles, monkeypatch):
    config = _config(rectangles / "in", rectangles / "out", min_confidence=0.0)
    none = replace(config, target=replace(config.target, detector="none"))
    assert KeypointSet.load(predict_files(none).predictions).key.tolist() == ["0", "1"]
    unknown = replace(finder, least_confidence=None)
    monkeypatch.setattr(module, "load_crop_predictor", lambda *_, **__: unknown)
    assert KeypointSet.load(predict_files(config).predictions).key.tolist() == ["0", "1"]


def test_videos_are_searched_once_and_after_a_loss(finder, rectangles, monkeypatch):
    searched, real = [], PoseSearch.detect
    monkeypatch.setattr(PoseSearch, "detect", lambda search, image: (searched.append(image), real(search, image))[1])
    done = predict_files(_config(rectangles / "clip.mp4", rectangles / "out"))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == [f"clip_{i:06d}" for i in range(8)]
    left = found.uv_px.min(axis=1)[:, 0]
    np.testing.assert_allclose(left, 40 + 2 * np.arange(8), atol=3)
    assert sorted(done.skipped) == ["clip_000008", "clip_000009"]
    assert len(searched) == 2  # the first frame, and the second one without a hand


def test_drawn_videos_have_every_frame(finder, rectangles):
    """The last two frames show no hand, and are drawn as they are."""
    done = predict_files(replace(_config(rectangles / "clip.mp4", rectangles / "out"), overlays=None))
    assert (done.frames, done.overlays) == (8, 8)
    given, drawn = (_decoded(rectangles / name) for name in ("clip.mp4", "out/overlays/clip.mp4"))
    assert len(given) == len(drawn) == 10
    apart = [np.abs(a.astype(int) - b).mean() for a, b in zip(given, drawn, strict=True)]
    assert max(apart[8:]) < 0.5 * min(apart[:8])


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_estimators_search_on_request(finder, rectangles):
    image = picture((100, 80, 70, False))
    estimator = ImageEstimator(finder)
    whole, searched = (estimator.predict(image, detector=choice) for choice in ("none", "auto"))
    assert len(whole) == len(searched) == 1
    np.testing.assert_allclose(searched.uv_px[0].min(axis=0), [100, 80], atol=2)
    by_path = estimator.predict(rectangles / "in", detector="auto")
    assert by_path.keys == ("0", "0_subject1")
    assert by_path.skipped == {"1": "no subject was detected"}
    own = estimator.predict(image, detector=DiscDetector())
    np.testing.assert_allclose(own.uv_px[0].min(axis=0), [100, 80], atol=2)
    with pytest.raises(InputError, match="boxes and a detector are both given"):
        estimator.predict(image, boxes=[0, 0, 9, 9], detector=DiscDetector())
    with pytest.raises(InputError, match="hands of each image and a detector are both given"):
        estimator.predict([image, image], hand=["left", "right"], detector="auto")
    with pytest.raises(InputError, match="no such file or folder"):
        estimator.predict(image, detector=str(rectangles / "detector"))


@pytest.mark.parametrize("name", ["in", "clip.mp4"])
def test_targets_are_cut_around_the_most_confident_subject(finder, rectangles, name):
    target = load_target(TargetConfig(rectangles / name), 64, HAND21, None, predictor=finder)
    frames = target.dataset.all()
    shown = [f"clip_{i:06d}" for i in range(8)] if name == "clip.mp4" else ["0"]
    assert list(frames.key) == shown
    lost = ["clip_000008", "clip_000009"] if name == "clip.mp4" else ["1"]
    assert sorted(target.skipped) == lost
    coloured = frames.rgb.amax(dim=1) > 0.5
    widths = coloured.any(dim=1).sum(dim=1)
    assert ((widths > 36) & (widths < 50)).all()  # two thirds of 64
    # Left hands are mirrored, so that red is on the left in every crop.
    red = frames.rgb[:, 0] > frames.rgb[:, 2] + 0.3
    column = torch.arange(64.0)
    assert ((red.sum(dim=1) * column).sum(dim=1) / red.sum(dim=(1, 2)) < 32).all()
