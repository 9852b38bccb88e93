import json
import re
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from data.on_disk import write_image
from posebridge.data.datasets.coco_keypoints import CocoKeypoints
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS, HAND21

_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
TIP_FIRST = ["wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (4, 3, 2, 1))]
POINTS = {name: (10 + 3 * (i % 7), 10 + 6 * (i // 7)) for i, name in enumerate(HAND21.joints)}


def annotation(number: int, names=HAND21.joints, **more) -> dict:
    """Joint of a name at the same place, in whatever order."""
    keypoints = [value for name in names for value in (*POINTS[name], 2)]
    return {"id": number, "image_id": number, "keypoints": keypoints, "bbox": [5, 5, 30, 30]} | more


def content() -> dict:
    return {
        "images": [
            {"id": i + 1, "file_name": f"{folder}/00001.png", "width": 40, "height": 40.0}
            for i, folder in enumerate(("walk", "run"))
        ],
        "categories": [{"id": 1, "keypoints": list(HAND21.joints)}],
        "annotations": [annotation(1), annotation(2)],
    }


def hand_m() -> np.ndarray:
    """Fingers are straight, and each bone is 30 mm long."""
    joints = np.tile([0.0, 0.0, 0.5], (21, 1))
    for parent, child in HAND21.bones:
        joints[child] = joints[parent] + [0, 0.03, 0]
    return joints


@pytest.fixture
def folder(tmp_path):
    for name in ("walk", "run"):
        write_image(tmp_path / name / "00001.png", 40, 40)
    return tmp_path


def open_set(folder: Path, what: dict, **options) -> CocoKeypoints:
    (folder / "set.json").write_text(json.dumps(what))
    return CocoKeypoints(folder / "set.json", folder, HAND21, **options)


def test_files_of_one_name_in_two_folders_have_different_keys(folder):
    coco = open_set(folder, content())
    assert [frame.key for frame in coco] == ["walk/00001", "run/00001"]
    assert coco.skipped == {}


def test_each_category_names_its_joints(folder):
    what = content()
    what["categories"].append({"id": "right", "keypoints": TIP_FIRST})
    what["annotations"] = [annotation(1, category_id=1), annotation(2, TIP_FIRST, category_id="right")]
    for index in range(2):
        labels = open_set(folder, what).labels(index)
        np.testing.assert_array_equal(labels.uv_px, [POINTS[name] for name in HAND21.joints])
    with pytest.raises(InputError, match="order their joints differently: give no joint order"):
        open_set(folder, what, joint_names=HAND21.joints)
    what["annotations"][1].pop("category_id")
    coco = open_set(folder, what)
    assert [frame.key for frame in coco] == ["walk/00001"]
    assert "category None is not among" in coco.skipped[f"{folder}/set.json annotation 2"]


def write_turned(path: Path, width: int, height: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


def test_the_annotated_size_tells_whether_pixels_are_upright(folder):
    """OpenCV, with which MMPose and Detectron2 read, applies the orientation."""
    what = content()
    what["images"][0] |= {"file_name": "turned.jpg", "width": 60, "height": 40}
    write_turned(folder / "turned.jpg", 60, 40, orientation=6)
    stored = open_set(folder, what)[0]
    assert (stored.shape, stored.turn, stored.mirror) == ((40, 60), 1, False)
    np.testing.assert_array_equal(stored.image, cv2.imread(str(folder / "turned.jpg"), _AS_STORED)[..., ::-1])
    what["images"][0] |= {"width": 40, "height": 60}
    upright = open_set(folder, what)[0]
    assert (upright.shape, upright.turn, upright.mirror) == ((60, 40), 0, False)
    np.testing.assert_array_equal(upright.image, cv2.imread(str(folder / "turned.jpg"))[..., ::-1])
    assert upright.box_xyxy.tolist() == stored.box_xyxy.tolist() == [5, 5, 35, 35]


@pytest.mark.parametrize(("width", "orientation"), [(60, 3), (60, 2), (40, 6)])
def test_an_orientation_that_the_size_does_not_tell_is_listed(folder, width, orientation):
    what = content()
    what["images"][0] |= {"file_name": "turned.jpg", "width": width}
    write_turned(folder / "turned.jpg", width, 40, orientation)
    coco = open_set(folder, what)
    assert [frame.key for frame in coco] == ["00001"]
    assert "carries an EXIF orientation" in coco.skipped[str(folder / "turned.jpg")]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_file", ["NFC", "NFD"])
def test_names_match_in_any_form_of_unicode(folder, on_disk, in_file):
    name = "Fälle/hände.png"
    write_image(folder / unicodedata.normalize(on_disk, name), 40, 40)
    what = content()
    what["images"][0]["file_name"] = unicodedata.normalize(in_file, name)
    coco = open_set(folder, what)
    assert coco.skipped == {}
    assert [frame.key for frame in coco] == ["hände", "00001"]


@pytest.mark.parametrize("missing", [{"bbox": None}, {"bbox": "absent"}])
def test_a_missing_box_surrounds_the_joints(folder, missing):
    what = content()
    what["annotations"][0] |= missing
    if missing["bbox"] == "absent":
        del what["annotations"][0]["bbox"]
    # Joints span 10 to 28 and 10 to 22: 1.25 times that about the same centre.
    np.testing.assert_allclose(open_set(folder, what)[0].box_xyxy, [7.75, 8.5, 30.25, 23.5])


def test_hand_types_in_any_case(folder):
    what = content()
    what["annotations"] = [annotation(1, hand_type="Left"), annotation(2, hand_type="RIGHT")]
    assert [frame.hand for frame in open_set(folder, what)] == ["left", "right"]


@pytest.mark.parametrize("per_metre", [1, 100, 1000])
def test_bones_tell_the_unit(folder, per_metre):
    what = content()
    for entry in what["annotations"]:
        entry["joint_cam"] = (hand_m() * per_metre).tolist()
    np.testing.assert_allclose(open_set(folder, what).labels(1).joints_m, hand_m())


def test_hands_of_another_unit_or_without_joints_among_others(folder):
    what = content()
    what["annotations"] = [annotation(i, image_id=1, joint_cam=(hand_m() * 1000).tolist()) for i in range(5)]
    what["annotations"][0]["joint_cam"] = hand_m().tolist()
    what["annotations"][1]["joint_cam"] = None
    coco = open_set(folder, what)
    assert [frame.key for frame in coco] == ["walk/00001_2", "walk/00001_3", "walk/00001_4"]
    np.testing.assert_allclose(coco.labels(0).joints_m, hand_m())
    given = {name.rpartition(" ")[2]: reason for name, reason in coco.skipped.items()}
    assert "most annotations of the file are in millimetres" in given["0"]
    assert "no joint_cam" in given["1"]


def test_joints_of_no_unit_are_refused(folder):
    what = content()
    for entry in what["annotations"]:
        entry["joint_cam"] = (hand_m() * 1e4).tolist()
    with pytest.raises(InputError, match="joint_cam has no possible bone lengths"):
        open_set(folder, what)


def test_no_camera_at_all(folder):
    what = content()
    for image in what["images"]:
        image["cam_param"] = None
    assert [frame.K for frame in open_set(folder, what)] == [None, None]


def test_joints_without_a_label_need_no_numbers(folder):
    what = content()
    what["annotations"][0]["keypoints"][:3] = [None, None, 0]
    assert np.flatnonzero(~open_set(folder, what).labels(0).valid).tolist() == [0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keypoints": [1, 2, -1] * 21}, "visibility of -1, expected 0, 1 or 2"),
        ({"keypoints": [None, 2, 2] * 21}, "keypoints are not finite"),
        ({"keypoints": [10**400, 2, 2] * 21}, "not a list of numbers"),
        ({"keypoints": [5, 5, 2] * 21, "bbox": None}, "no bbox, and its labelled joints span none"),
        ({"bbox": [0, 0, 1e308, 1e308]}, "10 times as large as the image"),
        ({"bbox": [1e308] * 4}, "is not finite"),
        ({"image_id": [1]}, r"image \[1\] is not among the images"),
        ({"image_id": 3}, "several images of the file have its id 3"),
        ({"image_id": 4}, "its image .* is missing"),
        ({"image_id": 5}, "its focal .* is too short for an image of 40 px"),
        ({"image_id": 6}, "cam_param is no object"),
        ({"joint_cam": [[0, 0, 0]] * 21}, "not in front of the camera"),
        ({"image_id": 2, "id": 2}, "another annotation has its key run/00001_2"),
    ],
)
def test_broken_records_are_listed(folder, change, reason):
    what = content()
    image = what["images"][1]
    what["images"] += [image | {"id": 3}, image | {"id": 3}, image | {"id": 4, "file_name": "x" * 5000}]
    what["images"] += [image | {"id": 5, "cam_param": {"focal": [1.2, 1.2], "princpt": [0.5, 0.5]}}]
    what["images"] += [image | {"id": 6, "cam_param": "none"}]
    what["annotations"].append(annotation(1) | change)
    coco = open_set(folder, what)
    assert len(coco) == 2
    (given,) = coco.skipped.values()
    assert re.search(reason, given), given


def test_annotations_without_ids_are_listed_each(folder):
    what = content()
    what["annotations"] += [7, {"id": [1], "keypoints": "x"}, {"keypoints": "x"}]
    names = {name.removeprefix(f"{folder}/") for name in open_set(folder, what).skipped}
    assert names == {f"set.json annotations[{i}]" for i in (2, 3, 4)}
