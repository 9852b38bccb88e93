import json

import numpy as np
import pytest

from data.on_disk import truncate, write_image, write_regressor
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.datasets.youtube_hands import YouTubeHands
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21

# MANO's own joints, and the vertices at the finger tips.
MANO = ("wrist", *(f"{finger}_{i}" for finger in ("index", "middle", "pinky", "ring", "thumb") for i in (1, 2, 3)))
TIPS = {"index_4": 333, "middle_4": 444, "pinky_4": 672, "ring_4": 555, "thumb_4": 744}


def vertices(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform([10, 8, -20], [50, 40, 20], (778, 3))


def content() -> dict:
    images = [
        {"name": f"youtube/{video}/video/frames/{number}.png", "width": 64, "height": 48, "id": identity}
        for identity, (video, number) in enumerate((("abc-1", 12), ("abc-1", 345), ("x_y", 7)))
    ]
    annotations = [
        {"vertices": vertices(i).tolist(), "is_left": i % 2, "image_id": image, "id": 50 + i}
        for i, image in enumerate((0, 0, 1, 2))
    ]
    return {"images": images, "annotations": annotations}


def small_set(tmp_path):
    for image in content()["images"]:
        write_image(tmp_path / image["name"], 64, 48)
    (tmp_path / "youtube_val.json").write_text(json.dumps(content()))
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


@pytest.fixture
def regressor(tmp_path):
    return write_regressor(tmp_path)


def test_hands_without_joints(root):
    reader = YouTubeHands(root, "validation")
    frames = list(reader)
    assert [frame.key for frame in frames] == ["abc-1_12_50", "abc-1_12_51", "abc-1_345_52", "x_y_7_53"]
    assert [frame.sequence for frame in frames] == ["abc-1_right", "abc-1_left", "abc-1_right", "x_y_left"]
    assert [(frame.frame, frame.hand) for frame in frames[1:3]] == [(12, "left"), (345, "right")]
    for i, frame in enumerate(frames):
        assert not reader.labels(i).valid.any()
        np.testing.assert_allclose(reader.vertices_px(i), vertices(i), rtol=1e-6)
        low, high = vertices(i)[:, :2].min(0), vertices(i)[:, :2].max(0)
        np.testing.assert_allclose(frame.box_xyxy[2:] - frame.box_xyxy[:2], 1.5 * (high - low))
        np.testing.assert_allclose(frame.box_xyxy[2:] + frame.box_xyxy[:2], low + high)
    assert UnlabelledCrops(reader, CropConfig(64, hand="annotated"))[1].image.shape == (1, 3, 64, 64)


def test_joints_by_a_regressor(root, regressor):
    reader = YouTubeHands(root, "validation", regressor)
    labels = reader.labels(2)
    assert labels.valid.all()
    assert labels.joints_m is None
    for row, name in enumerate(MANO):
        expected = vertices(2)[[2 * row, 2 * row + 1], :2].mean(0)
        np.testing.assert_allclose(labels.uv_px[HAND21.index(name)], expected, rtol=1e-5)
    for name, vertex in TIPS.items():
        np.testing.assert_allclose(labels.uv_px[HAND21.index(name)], vertices(2)[vertex, :2], rtol=1e-5)
    assert LabelledCrops(reader, CropConfig(64, hand="annotated"))[2].valid.all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["annotations"][2].update(vertices=[[1, 2, 3]]), "vertices is 1 x 3, expected 778 x 3"),
        (
            lambda a: a["annotations"][2].update(vertices=[[1, 2, float("nan")]] * 777 + [[float("nan")] * 3]),
            "not finite",
        ),
        (lambda a: a["annotations"][2].update(vertices=[[900, 900, 0]] * 778), "outside the image, which is 64x48"),
        (lambda a: a["annotations"][2].update(image_id=9), "not among the images"),
        (lambda a: a["annotations"][2].update(image_id=[1]), "not among the images"),
        (lambda a: a["annotations"][2].update(is_left=5), "is_left is neither"),
        (lambda a: a["images"][1].update(name="frames/3.png"), "not named youtube/VIDEO"),
        (lambda a: a["images"][1].update(name="youtube/abc-1/video/frames/9.png"), "9.png is missing"),
        (lambda a: a["images"][1].update(width=None), "no width and height"),
    ],
)
def test_broken_annotations_are_listed(root, change, reason):
    what = content()
    change(what)
    (root / "youtube_val.json").write_text(json.dumps(what))
    reader = YouTubeHands(root, "validation")
    assert [frame.key for frame in reader] == ["abc-1_12_50", "abc-1_12_51", "x_y_7_53"]
    ((where, given),) = reader.skipped.items()
    assert where.endswith("youtube_val.json annotation 52")
    assert reason in given


def test_broken_image(root):
    truncate(root / "youtube/x_y/video/frames/7.png")
    assert len(list(YouTubeHands(root, "validation"))) == 3


@pytest.mark.parametrize(
    ("weights", "message"),
    [(np.ones((16, 700)), "16 x 778"), (np.ones((16, 778)), "sum to one"), (np.array([None]), "Python objects")],
)
def test_bad_regressors(root, regressor, weights, message):
    np.save(regressor, weights, allow_pickle=True)
    with pytest.raises(InputError, match=rf"regressor\.npy.*{message}"):
        YouTubeHands(root, "validation", regressor)
    regressor.unlink()
    with pytest.raises(InputError, match="give MANO's J_regressor"):
        YouTubeHands(root, "validation", regressor)


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "lacks a list"), ('{"images": [], "annotations": []}', "no usable")]
)
def test_unusable_files(root, text, message):
    (root / "youtube_val.json").write_text(text)
    with pytest.raises(InputError, match=rf"youtube_val\.json: .*{message}"):
        YouTubeHands(root, "validation")
    with pytest.raises(InputError, match=r"youtube_test\.json: .*without labels, open the folder of images"):
        YouTubeHands(root, "test")
