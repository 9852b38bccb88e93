import contextlib
import json
import resource
import weakref
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data.on_disk import truncate, write_image
from deployment.rigged import SPEC, DotFinder, draw_dots, truth_of
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.target import TargetConfig
from posebridge.deployment import predicted_batches as module
from posebridge.deployment import torch_crops
from posebridge.deployment.model_file import LoadedModel
from posebridge.deployment.predict_files import PredictConfig, predict_files
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError

DOTS = np.array([[70.3, 62.8], [45.6, 30.2], [82.1, 25.4]])


@pytest.fixture(autouse=True)
def rigged(monkeypatch):
    """The model finds the joints by construction."""
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], SPEC, DotFinder()))


def config(source: Path, out: Path, **options) -> PredictConfig:
    of_target = {
        name: options.pop(name) for name in ("hand", "boxes", "padding", "every", "detector") if name in options
    }
    return PredictConfig(Path("model"), TargetConfig(source, **of_target), out, device="cpu", **options)


def dots_of(i: int) -> np.ndarray:
    return DOTS + np.array([1.7, -0.9]) * (i % 10)


def write_dots(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(draw_dots(120, 90, dots_of(i))).save(folder / f"view.{i}{suffix}")


def write_dots_video(path: Path, count: int, rate: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 120, 90, "yuv420p", 4_000_000
        for i in range(count):
            image = draw_dots(120, 90, dots_of(i))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def test_folder_of_images(tmp_path):
    write_dots(tmp_path / "in", 5)
    done = predict_files(config(tmp_path / "in", tmp_path / "out", hand="left", batch_size=2))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == [f"view.{i}" for i in range(5)]
    assert found.joint_names[9] == "middle_1"
    for i in range(5):
        np.testing.assert_allclose(found.uv_px[i], truth_of(dots_of(i)), atol=0.5)
    assert found.xyz_mm.shape == (5, 21, 3)
    assert (done.frames, done.skipped, done.overlays) == (5, {}, 5)
    written = {"predictions.npz", "predict.yaml", "skipped.json", "overlays"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == written
    assert {p.name for p in (tmp_path / "out" / "overlays").iterdir()} == {f"view.{i}.jpg" for i in range(5)}


def test_boxes_select_and_crop_frames(tmp_path):
    write_dots(tmp_path / "in", 3)
    (tmp_path / "boxes.csv").write_text("key,x0,y0,x1,y1,hand\nview.2,35,10,100,72,left\nview.0,30,12,95,78,right\n")
    done = predict_files(config(tmp_path / "in", tmp_path / "out", boxes=tmp_path / "boxes.csv", padding=1.3))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == ["view.0", "view.2"]
    np.testing.assert_allclose(found.uv_px[1], truth_of(dots_of(2)), atol=0.5)
    skipped = json.loads((tmp_path / "out" / "skipped.json").read_text())
    assert (skipped["used"], skipped["skipped"]) == (2, 1)
    assert skipped["reasons"]["view.1"].startswith("no box in")


def test_videos(tmp_path):
    write_dots_video(tmp_path / "in" / "left cam.mp4", 7)
    write_dots_video(tmp_path / "in" / "right.mp4", 4)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"nothing")
    done = predict_files(config(tmp_path / "in", tmp_path / "out", every=3, batch_size=4))
    found = KeypointSet.load(done.predictions)
    assert found.key.tolist() == [f"left cam_{i:06d}" for i in (0, 3, 6)] + ["right_000000", "right_000003"]
    for row, i in enumerate((0, 3, 6, 0, 3)):
        np.testing.assert_allclose(found.uv_px[row], truth_of(dots_of(i)), atol=0.5)
    assert list(done.skipped) == [str(tmp_path / "in" / "broken.mp4")]
    with av.open(str(tmp_path / "out" / "overlays" / "left cam.mp4")) as container:
        assert (container.streams.video[0].average_rate, container.streams.video[0].frames) == (4, 3)


def test_unreadable_frames_are_skipped_and_listed(tmp_path):
    write_dots(tmp_path / "in", 3, ".jpg")
    truncate(tmp_path / "in" / "view.1.jpg")
    done = predict_files(config(tmp_path / "in", tmp_path / "out", overlays=0))
    assert KeypointSet.load(done.predictions).key.tolist() == ["view.0", "view.2"]
    assert list(done.skipped) == [str(tmp_path / "in" / "view.1.jpg")]
    assert "skipped 1" in str(done)
    assert not (tmp_path / "out" / "overlays").exists()


def test_nothing_readable(tmp_path):
    write_dots(tmp_path / "in", 2, ".jpg")
    for file in (tmp_path / "in").iterdir():
        truncate(file, 0.1)
    refused(config(tmp_path / "in", tmp_path / "out"), "none of 2 images can be read")
    assert not (tmp_path / "out" / "predictions.npz").exists()


def test_a_second_run_replaces_the_first(tmp_path):
    """Earlier predictions are removed; other files in the folder are kept."""
    write_dots(tmp_path / "a", 3)
    write_dots(tmp_path / "b", 1)
    write_dots_video(tmp_path / "c" / "clip.mp4", 2)
    overlays = tmp_path / "out" / "overlays"
    predict_files(config(tmp_path / "a", tmp_path / "out"))
    (overlays / "notes.txt").touch()
    predict_files(config(tmp_path / "b", tmp_path / "out"))
    assert len(KeypointSet.load(tmp_path / "out" / "predictions.npz")) == 1
    assert {p.name for p in overlays.iterdir()} == {"view.0.jpg", "notes.txt"}
    predict_files(config(tmp_path / "c", tmp_path / "out"))
    assert {p.name for p in overlays.iterdir()} == {"clip.mp4", "notes.txt"}
    predict_files(config(tmp_path / "b", tmp_path / "out", overlays=0))
    assert {p.name for p in overlays.iterdir()} == {"notes.txt"}


def test_folders_that_are_named_like_files_stay(tmp_path):
    """Frames of videos often have such folders."""
    for name in ("a.mp4", "b.mp4"):
        write_dots(tmp_path / "in" / name, 2)
    done = predict_files(config(tmp_path / "in", tmp_path / "out"))
    assert (done.frames, done.overlays) == (4, 4)
    assert (tmp_path / "out" / "overlays" / "a.mp4" / "view.0.jpg").is_file()
    assert not (tmp_path / "out" / "predictions.partial.npz").exists()


@pytest.mark.parametrize("source", ["", "overlays", "overlays/view.1.jpg"])
def test_inputs_are_not_overwritten(tmp_path, source):
    write_dots(tmp_path / "overlays", 2, ".jpg")
    refused(config(tmp_path / source, tmp_path, overlays=0), "is an input and would be replaced")
    assert len(list((tmp_path / "overlays").iterdir())) == 2


def test_predictions_inside_the_input_folder_are_replaced(tmp_path):
    write_dots(tmp_path, 2)
    for _ in range(2):
        done = predict_files(config(tmp_path, tmp_path / "out", overlays=0))
    assert done.frames == 2


def test_models_without_reference_length_predict_no_metres(tmp_path, monkeypatch):
    spec = replace(SPEC, reference_length_m=None)
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], spec, DotFinder()))
    write_dots(tmp_path / "in", 1)
    done = predict_files(config(tmp_path / "in" / "view.0.png", tmp_path / "out"))
    assert KeypointSet.load(done.predictions).xyz_mm is None
    assert "no xyz_mm" in str(done)


class SureOf(DotFinder):
    """Confident where the red disc is bright."""

    def predict(self, images):
        found = super().predict(images)
        shown = (images[:, 0].flatten(1).amax(1) > 0.8).float()[:, None]
        return replace(found, confidence=found.confidence.clamp(0.7, 1) * shown + 0.1)


@pytest.mark.parametrize("source", ["model", "option"])
def test_frames_without_a_subject_are_listed_and_not_drawn(tmp_path, monkeypatch, source):
    spec = replace(SPEC, least_confidence=0.5) if source == "model" else SPEC
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], spec, SureOf()))
    write_dots(tmp_path / "in", 3)
    Image.fromarray(draw_dots(120, 90, DOTS) // 5 * 3).save(tmp_path / "in" / "view.1.png")
    options = {} if source == "model" else {"min_confidence": 0.5}
    done = predict_files(config(tmp_path / "in", tmp_path / "out", detector="none", **options))
    assert KeypointSet.load(done.predictions).key.tolist() == ["view.0", "view.2"]
    assert (done.frames, done.overlays) == (2, 2)
    assert done.skipped == {"view.1": "no subject in the crop: mean confidence 0.10 is below 0.5"}
    kept = predict_files(config(tmp_path / "in", tmp_path / "all", detector="none", min_confidence=0.0))
    assert (kept.frames, kept.skipped) == (3, {})


def test_interrupted_predictions_are_kept(tmp_path, monkeypatch):
    write_dots(tmp_path / "in", 4)
    predict_files(config(tmp_path / "in", tmp_path / "out"))
    before = (tmp_path / "out" / "predictions.npz").read_bytes()
    real, calls = PosePredictor.predict_batch, []

    def interrupted(predictor, batch):
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(predictor, batch)

    monkeypatch.setattr(PosePredictor, "predict_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_files(config(tmp_path / "in", tmp_path / "out", batch_size=1))
    assert (tmp_path / "out" / "predictions.npz").read_bytes() == before
    assert len(KeypointSet.load(tmp_path / "out" / "predictions.partial.npz")) == 2
    monkeypatch.setattr(PosePredictor, "predict_batch", real)
    predict_files(config(tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out" / "predictions.partial.npz").exists()


@contextlib.contextmanager
def full_disk(size: int):
    """No file can grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("overlays", [0, None])
def test_full_disk(tmp_path, overlays):
    write_dots_video(tmp_path / "in.mp4", 40)
    with full_disk(500):
        refused(config(tmp_path / "in.mp4", tmp_path / "out", overlays=overlays), "cannot write .*free some space")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left in ([], ["skipped.json"])


def test_unusable_folders_are_refused(tmp_path):
    write_dots(tmp_path / "in", 1)
    (tmp_path / "file").write_text("")
    refused(config(tmp_path / "in", tmp_path / "file"), "cannot write into .*file")
    refused(config(tmp_path / "in", tmp_path / "file" / "below"), "cannot write into .*below")
    refused(config(tmp_path / "in", tmp_path / "in" / "out"), "overlays would be read as input")
    predict_files(config(tmp_path / "in", tmp_path / "in" / "out", overlays=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch size 0"),
        ({"overlays": -1}, "-1 overlays"),
        ({"padding": float("nan")}, "padding nan"),
        ({"padding": 0.0}, "padding 0"),
        ({"every": 0}, "every 0th frame"),
        ({"hand": "annotated"}, "view.0: the frame isn't labelled left or right"),
    ],
)
def test_impossible_options(tmp_path, options, message):
    write_dots(tmp_path / "in", 1)
    with pytest.raises(InputError, match=message):
        predict_files(config(tmp_path / "in", tmp_path / "out", **options))


def test_missing_devices_are_refused(tmp_path):
    write_image(tmp_path / "in.png")
    for device in ("abacus", "cuda:99"):
        refused(
            PredictConfig(Path("m"), TargetConfig(tmp_path / "in.png"), tmp_path / "o", device=device), "can't be used"
        )


def test_bodies_have_no_handedness(tmp_path, monkeypatch):
    spec = replace(SPEC, skeleton="coco17")
    monkeypatch.setattr(torch_crops, "load_model", lambda path, *kinds: LoadedModel(kinds[0], spec, DotFinder()))
    write_image(tmp_path / "in.png")
    refused(config(tmp_path / "in.png", tmp_path / "out", hand="left"), "predicts bodies")


def test_frames_are_released_batch_by_batch(tmp_path, monkeypatch):
    write_dots_video(tmp_path / "in.mp4", 60)
    seen: list[weakref.ref] = []
    alive: list[int] = []
    real = module.crop_batches

    def watched(read, crop, size):
        for frames, batch in real(read, crop, size):
            seen.extend(weakref.ref(frame.image) for frame in frames)
            alive.append(sum(image() is not None for image in seen))
            yield frames, batch

    monkeypatch.setattr(module, "crop_batches", watched)
    predict_files(config(tmp_path / "in.mp4", tmp_path / "out", batch_size=5))
    assert len(seen) == 60
    assert max(alive) <= 16  # a batch that is read, one that is predicted, one that is drawn, and a frame before it


def refused(options: PredictConfig, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        predict_files(options)
    assert "\n" not in str(raised.value)
