import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.hand_sets import check_hand, hand_mm, ordered
from data.on_disk import truncate, write_image
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.interhand import InterHand
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS, HAND21

FORMATS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "formats"
ROWS = (*(f"{finger}_{i}" for finger in FINGERS for i in (4, 3, 2, 1)), "wrist")
K = np.array([[1261.5, 0, 155.8], [0, 1261.7, 258.8], [0, 0, 1]])
R = Rotation.from_euler("xyz", [5, -20, 3], degrees=True).as_matrix()
CENTRE_MM = np.array([-200.0, 50, 60])


def seen(joints):
    """A hand of the world in the camera: X = R (X_world - position)."""
    return {name: R @ (xyz - CENTRE_MM) for name, xyz in joints.items()}


def hand(side: str, frame: int):
    return hand_mm(2 * frame + (side == "left"), (100.0 if side == "left" else -50.0, 0, 900))


def world_coord(frame: int) -> np.ndarray:
    return np.concatenate([ordered(hand("right", frame), ROWS), ordered(hand("left", frame), ROWS)])


def content() -> tuple[dict, dict, dict]:
    """Frames 7 (right), 8 (left) and 9 (both) of capture 0."""
    data: dict = {"images": [], "annotations": []}
    joints: dict = {"0": {}}
    for number, (frame, kind) in enumerate(((7, "right"), (8, "left"), (9, "interacting"))):
        valid = [[int(kind in (side, "interacting"))] for side in ("right", "left") for _ in range(21)]
        name = f"Capture0/0001_fist/cam400262/image{frame}.jpg"
        image = {"id": 10 + number, "file_name": name, "width": 64, "height": 96, "capture": 0, "subject": 3}
        data["images"].append(image | {"seq_name": "0001_fist", "camera": "400262", "frame_idx": frame})
        annotation = {"id": 100 + number, "image_id": 10 + number, "bbox": [1, 2, 3, 4], "joint_valid": valid}
        data["annotations"].append(annotation | {"hand_type": kind, "hand_type_valid": 1})
        joints["0"][str(frame)] = {"world_coord": world_coord(frame).tolist(), "joint_valid": [[1]] * 42}
    camera = {"campos": CENTRE_MM.tolist(), "camrot": R.tolist(), "focal": [1261.5, 1261.7], "princpt": [155.8, 258.8]}
    return data, {"0": {key: {"400262": value} for key, value in camera.items()}}, joints


def write(root: Path, data: dict, camera: dict, joints: dict) -> Path:
    folder = root / "annotations" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("data", data), ("camera", camera), ("joint_3d", joints)):
        (folder / f"InterHand2.6M_train_{name}.json").write_text(json.dumps(value))
    return root


def small_set(tmp_path):
    for frame in (7, 8, 9):
        write_image(tmp_path / "images" / "train" / f"Capture0/0001_fist/cam400262/image{frame}.jpg", 64, 96)
    return write(tmp_path, *content())


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_each_hand_is_a_frame(root):
    reader = InterHand(root)
    frames = list(reader)
    assert [frame.key for frame in frames] == [
        *("0_400262_7_right", "0_400262_8_left", "0_400262_9_right", "0_400262_9_left")
    ]
    assert [frame.sequence for frame in frames[2:]] == ["0_0001_fist_right", "0_0001_fist_left"]
    assert [(frame.frame, frame.view, frame.hand) for frame in frames[1:3]] == [
        (8, 400262, "left"),
        (9, 400262, "right"),
    ]
    for i, (side, frame) in enumerate((("right", 7), ("left", 8), ("right", 9), ("left", 9))):
        check_hand(reader, i, seen(hand(side, frame)), K)
    T = frames[0].T_world_cam
    np.testing.assert_allclose(
        T[:3, :3] @ reader.labels(0).joints_m[4] + T[:3, 3], hand("right", 7)["thumb_4"] / 1000, atol=1e-9
    )


def test_one_or_two_hands(root):
    assert [frame.frame for frame in InterHand(root, hands="single")] == [7, 8]
    assert [frame.frame for frame in InterHand(root, hands="interacting")] == [9, 9]


def test_joints_without_a_label(root):
    data, camera, joints = content()
    data["annotations"][0]["joint_valid"][ROWS.index("pinky_4")] = [0]
    joints["0"]["7"]["joint_valid"][ROWS.index("index_2")] = [0]
    for row in range(5):
        data["annotations"][2]["joint_valid"][row] = [0]  # 16 of the right hand remain
    data["annotations"][2]["joint_valid"][21 + ROWS.index("wrist")] = [0]
    reader = InterHand(write(root, data, camera, joints))
    assert [frame.frame for frame in reader] == [7, 8]
    assert [HAND21.joints[j] for j in np.flatnonzero(~reader.labels(0).valid)] == ["index_2", "pinky_4"]
    assert reader.skipped == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d, c, j: d["annotations"][0].update(image_id=99), "not among the images"),
        (lambda d, c, j: d["images"][0].update(file_name="none.jpg"), "none.jpg is missing"),
        (lambda d, c, j: d["images"][0].pop("frame_idx"), "no file_name or frame_idx"),
        (lambda d, c, j: d["annotations"][0].update(image_id=[1]), "not among the images"),
        (lambda d, c, j: d["annotations"][0].update(joint_valid=[[1], [1, 1]]), "joint_valid are not a list"),
        (lambda d, c, j: d["images"][0].update(camera="b"), "is not a number"),
        (lambda d, c, j: d["images"][0].update(camera="5"), "camera 5 of capture 0 has no campos"),
        (lambda d, c, j: d["annotations"][0].update(joint_valid=[[1]] * 21), "joint_valid have 21 numbers"),
        (lambda d, c, j: j["0"].pop("7"), "frame 7 of capture 0 has no joints in space"),
        (lambda d, c, j: j["0"]["7"].update(world_coord=[[1, 2, 3]]), "world_coord is 1 x 3, expected 42 x 3"),
        (lambda d, c, j: j["0"]["7"].update(world_coord=[[1, 2, float("nan")]] * 42), "not finite"),
        (
            lambda d, c, j: j["0"]["7"].update(world_coord=(100 * world_coord(7)).tolist()),
            "across a hand's joints, expected 20 to 500 mm",
        ),
    ],
)
def test_broken_records_are_listed(root, change, reason):
    parts = content()
    change(*parts)
    reader = InterHand(write(root, *parts))
    assert [frame.frame for frame in reader] == [8, 9, 9]
    assert [text for text in reader.skipped.values() if reason in text]


def test_broken_image(root):
    truncate(root / "images" / "train" / "Capture0/0001_fist/cam400262/image7.jpg")
    assert [frame.frame for frame in InterHand(root)] == [8, 9, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, c, j: d.pop("annotations"), r"data\.json: it lacks a list 'annotations'"),
        (lambda d, c, j: c["0"]["focal"].update({"400262": [0, 5]}), r"camera\.json: camera 400262 .* are impossible"),
        (lambda d, c, j: c["0"]["camrot"].update({"400262": [[1, 2, 3]] * 3}), "camrot is not a rotation"),
        (
            lambda d, c, j: [
                f.update(world_coord=(np.array(f["world_coord"]) / 1000).tolist()) for f in j["0"].values()
            ],
            r"joint_3d\.json: hands measure .*expected millimetres .*look like metres",
        ),
        (lambda d, c, j: [a.update(joint_valid=[[0]] * 42) for a in d["annotations"]], "no usable hand"),
    ],
)
def test_unusable_files(root, change, message):
    parts = content()
    change(*parts)
    with pytest.raises(InputError, match=message):
        InterHand(write(root, *parts))


def test_absent_annotations(root):
    (root / "annotations" / "train" / "InterHand2.6M_train_camera.json").unlink()
    with pytest.raises(InputError, match=r"camera\.json: .*without labels, open the folder of images"):
        InterHand(root)


def test_real_samples(tmp_path):
    if not FORMATS.is_dir():
        pytest.skip("../shared/data is absent")
    source = FORMATS / "hand" / "interhand2.6m"
    parts = [
        json.loads((source / f"test_interhand2.6m_{name}.json").read_text()) for name in ("data", "camera", "joint_3d")
    ]
    (tmp_path / "images" / "train").mkdir(parents=True)
    for image in parts[0]["images"]:
        shutil.copy(source / image["file_name"], tmp_path / "images" / "train")
    reader = InterHand(write(tmp_path, *parts))
    assert sorted(frame.key for frame in reader) == [
        *("2_400012_44669_left", "2_400012_44669_right", "3_400026_69148_left", "3_400026_69148_right"),
        *("4_410028_2017_right", "7_410053_29590_left"),
    ]
    boxes = {str(annotation["id"]): annotation["bbox"] for annotation in parts[0]["annotations"]}
    identity = {str(image["frame_idx"]): str(image["id"]) for image in parts[0]["images"]}
    for i, frame in enumerate(reader):
        labels = reader.labels(i)
        x, y, width, height = boxes[identity[str(frame.frame)]]  # of the release, around all joints with a margin
        assert ((labels.uv_px >= [x, y]) & (labels.uv_px <= [x + width, y + height]))[labels.valid].all()
        crop = LabelledCrops(reader, CropConfig(128, hand="annotated"))[i]
        error = (crop.camera.project(crop.joints_m) - crop.uv_px).norm(dim=-1)[crop.valid]
        assert error.max() < 0.01
        assert 0.06 < np.linalg.norm(labels.joints_m[0] - labels.joints_m[HAND21.index("middle_1")]) < 0.11
