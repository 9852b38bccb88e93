import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data.on_disk import truncate, write_image
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.panoptic_hands import PanopticHands
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS, HAND21

FORMATS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "formats"
ORDER = ("wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3, 4)))


def rows(seed: int) -> list[list[float]]:
    uv = np.random.default_rng(seed).uniform(5, 25, (21, 2))
    return np.concatenate([uv, np.ones((21, 1))], axis=1).tolist()


def small_set(tmp_path):
    """The layout of ``hand_labels``: its dotted names and its names of sides."""
    for i, (name, left) in enumerate((("000015774_01_l", 1), ("ex2_2.flv_000040_r", 0), ("z_l", 1))):
        write_image(tmp_path / "manual_train" / f"{name}.jpg")
        what = {"hand_pts": rows(i), "is_left": left, "hand_box_center": [15, 15], "img_width": 40}
        (tmp_path / "manual_train" / f"{name}.json").write_text(json.dumps(what))
    return tmp_path


@pytest.fixture
def labels(tmp_path):
    return small_set(tmp_path)


@pytest.fixture
def studio(tmp_path):
    write_image(tmp_path / "imgs" / "00000000.jpg")
    write_image(tmp_path / "imgs" / "00000001.jpg")
    what = {"root": [{"img_paths": f"imgs/{i:08d}.jpg", "joint_self": rows(i), "objpos": [1, 2]} for i in range(3)]}
    (tmp_path / "hands_v143_14817.json").write_text(json.dumps(what))
    return tmp_path


def test_manual_labels(labels):
    reader = PanopticHands(labels)
    frames = list(reader)
    assert [frame.key for frame in frames] == ["000015774_01_l", "ex2_2.flv_000040_r", "z_l"]
    assert [frame.hand for frame in frames] == ["left", "right", "left"]
    for i, frame in enumerate(frames):
        assert frame.K is None
        given = reader.labels(i)
        assert given.joints_m is None
        assert given.valid.all()
        for row, name in enumerate(ORDER):
            np.testing.assert_array_equal(given.uv_px[HAND21.index(name)], rows(i)[row][:2])
        low, high = given.uv_px.min(0), given.uv_px.max(0)
        np.testing.assert_allclose(frame.box_xyxy[2:] - frame.box_xyxy[:2], 1.5 * (high - low))
    assert LabelledCrops(reader, CropConfig(64, hand="annotated"))[0].camera is None


def test_joints_that_are_hidden_or_not_labelled(labels):
    path = labels / "manual_train" / "z_l.json"
    what = json.loads(path.read_text())
    what["hand_pts"][4] = [0, 0, 0]
    what["hand_pts"][5][2] = 2
    path.write_text(json.dumps(what))
    given = PanopticHands(labels).labels(2)
    assert np.flatnonzero(~given.valid).tolist() == [HAND21.index("thumb_4")]
    assert np.flatnonzero(~given.visible).tolist() == [HAND21.index("thumb_4"), HAND21.index("index_1")]


def test_studio(studio):
    reader = PanopticHands(studio, part="studio")
    assert [frame.key for frame in reader] == ["00000000", "00000001"]
    assert {frame.hand for frame in reader} == {"right"}
    np.testing.assert_array_equal(reader.labels(1).uv_px, np.array(rows(1))[:, :2])
    ((where, reason),) = reader.skipped.items()
    assert where == f"{studio / 'hands_v143_14817.json'} 2"
    assert "00000002.jpg is missing" in reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.pop("is_left"), "is_left is neither 0 nor 1"),
        (lambda a: a.update(hand_pts=rows(0)[:20]), "its joints is 20 x 3, expected 21 x 3"),
        (lambda a: a.update(hand_pts=[[1, 2, 0]] * 21), "none of its joints is labelled"),
        (lambda a: a.update(hand_pts=[[1, float("nan"), 1]] * 21), "not finite"),
    ],
)
def test_broken_annotations_are_listed(labels, change, reason):
    path = labels / "manual_train" / "z_l.json"
    what = json.loads(path.read_text())
    change(what)
    path.write_text(json.dumps(what))
    truncate(labels / "manual_train" / "000015774_01_l.jpg")
    reader = PanopticHands(labels)
    assert [frame.key for frame in reader] == ["ex2_2.flv_000040_r"]
    assert reason in reader.skipped[str(path)]
    assert str(labels / "manual_train" / "000015774_01_l.jpg") in reader.skipped


def test_unusable_files(studio):
    with pytest.raises(InputError, match=r"manual_test: no such folder"):
        PanopticHands(studio, "test")
    (studio / "synth1").mkdir()
    with pytest.raises(InputError, match=r"no usable annotation of part 'synth1': there is none"):
        PanopticHands(studio, part="synth1")
    (studio / "hands_v143_14817.json").write_text("[]")
    with pytest.raises(InputError, match=r"hands_v143_14817\.json: expected an object with a list 'root'"):
        PanopticHands(studio, part="studio")


def test_real_samples(tmp_path):
    if not FORMATS.is_dir():
        pytest.skip("../shared/data is absent")
    source = FORMATS / "hand" / "panoptic"
    content = json.loads((source / "test_panoptic.json").read_text())
    (tmp_path / "manual_train").mkdir()
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        file = tmp_path / "manual_train" / image["file_name"]
        shutil.copy(source / image["file_name"], file)
        points = np.reshape(annotation["keypoints"], (21, 3)).tolist()
        side = int(image["file_name"].endswith("_l.jpg"))
        file.with_name(file.name.removesuffix(".jpg") + ".json").write_text(
            json.dumps({"hand_pts": points, "is_left": side})
        )
    reader = PanopticHands(tmp_path)
    assert len(list(reader)) == 4
    assert reader.skipped == {}
    for i, frame in enumerate(reader):
        height, width = frame.shape
        given = reader.labels(i)
        assert ((given.uv_px > -0.5) & (given.uv_px < [width - 0.5, height - 0.5]))[given.valid].all()
