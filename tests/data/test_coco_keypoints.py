import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.on_disk import truncate, write_image
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.coco_keypoints import CocoKeypoints
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS

FORMATS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "formats"


def keypoints(seed: int) -> list[list[float]]:
    uv = np.random.default_rng(seed).uniform(5, 25, (21, 2))
    return np.concatenate([uv, np.ones((21, 1))], axis=1).tolist()


def content() -> dict:
    flat = [number for keypoint in keypoints(1) for number in keypoint]
    return {
        "images": [{"id": i, "file_name": f"im/{i}.png", "width": 40, "height": 30} for i in range(4)],
        "annotations": [
            {"id": 7, "image_id": 0, "keypoints": keypoints(0), "bbox": [5, 5, 20, 15]},
            {"id": 8, "image_id": 1, "keypoints": flat, "bbox": [0, 0, 30, 30]},
            {"id": 9, "image_id": 1, "keypoints": keypoints(2)},
            {"id": 10, "image_id": 2, "keypoints": [0] * 63, "bbox": [5, 5, 20, 15]},
            {"id": 11, "image_id": 2, "keypoints": keypoints(2), "bbox": [5, 5, 20, 15], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "hand", "keypoints": list(HAND21.joints)}],
    }


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        write_image(tmp_path / "im" / f"{i}.png", seed=i)
    return tmp_path


def open_set(folder: Path, what: dict, **options) -> CocoKeypoints:
    (folder / "set.json").write_text(json.dumps(what))
    return CocoKeypoints(folder / "set.json", folder, HAND21, **options)


def test_subjects_keys_and_boxes(folder):
    coco = open_set(folder, content())
    assert [frame.key for frame in coco] == ["0", "1_8", "1_9"]  # no crowd, none without a labelled joint
    assert coco.skipped == {}
    np.testing.assert_array_equal(coco[0].box_xyxy, [5, 5, 25, 20])
    uv = np.array(keypoints(2))[:, :2]
    box = coco[2].box_xyxy
    np.testing.assert_allclose(box[2:] - box[:2], 1.25 * (uv.max(0) - uv.min(0)))
    for i in range(3):
        np.testing.assert_array_equal(coco.labels(i).uv_px, np.array(keypoints(i))[:, :2])
        assert coco.labels(i).valid.all()
        assert coco.labels(i).visible.all()  # in a file with flags 0 and 1 only, 1 means visible
    batch = LabelledCrops(coco, CropConfig(64, padding=1.2))[0]
    assert batch.camera is None
    assert batch.joints_m is None


def test_hidden_and_missing_joints(folder):
    what = content()
    what["annotations"][0]["keypoints"][3][2] = 0
    what["annotations"][0]["keypoints"][4][2] = 2
    labels = open_set(folder, what).labels(0)
    assert labels.valid.sum() == 20
    assert not labels.valid[3]
    assert np.flatnonzero(labels.visible).tolist() == [4]


def test_keypoints_are_ordered_by_name(folder):
    what = content()
    what["categories"][0]["keypoints"] = list(reversed(HAND21.joints))
    np.testing.assert_array_equal(open_set(folder, what).labels(0).uv_px, np.array(keypoints(0))[::-1, :2])
    tip_first = open_set(folder, what, joint_names=ORDERS["rhd2d"]).labels(0)
    np.testing.assert_array_equal(tip_first.uv_px[HAND21.index("thumb_4")], keypoints(0)[1][:2])


def test_hand_where_none_is_annotated(folder):
    what = content()
    what["annotations"][0]["hand_type"] = "left"
    for annotation in what["annotations"][1:]:
        annotation.pop("hand_type", None)
    frames = open_set(folder, what, hand="right")
    assert [frames[i].hand for i in range(len(frames))] == ["left"] + ["right"] * (len(frames) - 1)


def test_camera_and_joints(folder):
    what = content()
    for image in what["images"]:
        image["cam_param"] = {"focal": [200.0, 210.0], "princpt": [19.5, 14.5]}
    for i, annotation in enumerate(what["annotations"]):
        uv = np.array(keypoints(i))[:, :2]
        joints_mm = np.concatenate([(uv - [19.5, 14.5]) / [200, 210] * 500, np.full((21, 1), 500)], axis=1)
        annotation["joint_cam"] = joints_mm.tolist()
        annotation["hand_type"] = "left"
    sample = LabelledCrops(open_set(folder, what), CropConfig(64, hand="annotated"))[0]
    assert sample.camera is not None
    torch.testing.assert_close(sample.camera.project(sample.joints_m), sample.uv_px, atol=1e-3, rtol=0)
    assert sample.joints_m[0, 0, 2] == 0.5
    assert torch.linalg.det(sample.T_crop_file[0]) < 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["annotations"][0].update(keypoints=[1.0] * 60), "keypoints have 60 numbers, expected 21 x 3"),
        (lambda a: a["annotations"][0].update(keypoints=[1.0, 2, float("nan")] * 21), "keypoints are not finite"),
        (lambda a: a["annotations"][0].update(keypoints="abc"), "not a list of numbers"),
        (lambda a: a["annotations"][0].update(bbox=[100, 100, 5, 5]), "outside the image, which is 40x30"),
        (lambda a: a["annotations"][0].update(bbox=[1, 1, 0, 5]), "empty"),
        (lambda a: a["annotations"][0].update(bbox=[1, 1, 5]), "bbox have 3 numbers"),
        (lambda a: a["annotations"][0].update(image_id=99), "image 99 is not among the images"),
        (lambda a: a["annotations"][0].update(joint_cam=[[1, 2, 3]]), "joint_cam have 3 numbers"),
        (lambda a: a["images"][0].update(file_name="absent.png"), "absent.png is missing"),
        (lambda a: a["images"][0].pop("width"), "no width and height"),
    ],
)
def test_broken_records_among_good_ones_are_listed(folder, change, reason):
    what = content()
    change(what)
    coco = open_set(folder, what)
    assert [frame.key for frame in coco] == ["1_8", "1_9"]
    ((name, given),) = coco.skipped.items()
    assert name.endswith("set.json annotation 7")
    assert reason in given


def test_broken_and_resized_images_are_listed(folder):
    truncate(folder / "im" / "0.png")
    write_image(folder / "im" / "1.png", 20, 15)
    what = content()
    what["annotations"].append({"id": 12, "image_id": 3, "keypoints": keypoints(2)})
    coco = open_set(folder, what)
    assert [frame.key for frame in coco] == ["3"]
    assert "annotated as 40x30" in coco.skipped[str(folder / "im" / "1.png")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("annotations"), "lacks a list 'annotations'"),
        (lambda a: a.pop("categories"), "categories name no keypoints"),
        (lambda a: a["categories"][0].update(keypoints=["nose"]), "no joint of skeleton hand21"),
        (lambda a: a.update(annotations=[{"keypoints": [1.0] * 6}]), "no usable annotation of 1: its image None"),
        (lambda a: a.update(annotations=[]), "no usable annotation of 0"),
    ],
)
def test_unusable_files(folder, change, message):
    what = copy.deepcopy(content())
    change(what)
    with pytest.raises(InputError, match=message):
        open_set(folder, what)


def test_no_json(folder):
    (folder / "set.json").write_text("{")
    with pytest.raises(InputError, match=r"set\.json: not JSON"):
        CocoKeypoints(folder / "set.json", folder, HAND21)
    with pytest.raises(InputError, match=r"absent\.json: .*without labels"):
        CocoKeypoints(folder / "absent.json", folder, HAND21)


@pytest.mark.parametrize(
    ("name", "skeleton", "order", "subjects", "has_camera"),
    [
        ("hand/rhd/test_rhd", HAND21, "rhd2d", 3, True),
        ("hand/freihand/test_freihand", HAND21, None, 8, False),
        ("hand/onehand10k/test_onehand10k", HAND21, None, 4, False),
        ("hand/panoptic/test_panoptic", HAND21, None, 4, False),
        ("body/coco/test_coco", COCO17, None, 12, False),
    ],
)
def test_real_samples(name, skeleton, order, subjects, has_camera):
    if not FORMATS.is_dir():
        pytest.skip("../shared/data is absent")
    path = FORMATS / f"{name}.json"
    coco = CocoKeypoints(path, path.parent, skeleton, ORDERS[order] if order else None)
    crops = LabelledCrops(coco, CropConfig(128, padding=1.25))
    assert len(crops) == subjects
    assert coco.skipped == {}
    for i in range(len(crops)):
        sample = crops[i]
        inside = ((sample.uv_px > -0.5) & (sample.uv_px < 127.5)).all(-1)
        assert inside[sample.valid].float().mean() > 0.9
        assert (sample.camera is not None) == has_camera
        if sample.camera is not None:
            torch.testing.assert_close(sample.camera.project(sample.joints_m), sample.uv_px, atol=0.2, rtol=0)
            # Base to tip: a finger's joints lie ever farther from each other along it.
            wrist_to = (sample.joints_m[0, 1:] - sample.joints_m[0, :1]).norm(dim=-1).view(5, 4)
            assert (wrist_to[1:, 3] > wrist_to[1:, 0]).any()
