import pickle

import numpy as np
import pytest

from data.on_disk import write_image
from data.people import facing, person, rotation, to_world
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.threedpw import ThreeDPW
from posebridge.errors import InputError
from posebridge.skeletons.body import COCO17, SMPL24

FRAMES, WIDTH, HEIGHT = 5, 108, 192
K = np.array([[196.0, 0, 54], [0, 196.1, 96], [0, 0, 1]])


def poses() -> np.ndarray:
    """World to camera of a rotating phone."""
    T = np.tile(np.eye(4), (FRAMES, 1, 1))
    for t in range(FRAMES):
        T[t, :3, :3], T[t, :3, 3] = rotation(0.1 * t, 1 + 0.2 * t, -0.1), (0.3, -0.2 * t, 1.5)
    return T


def joints_in_world(people: int = 2) -> list[np.ndarray]:
    camera = [person(SMPL24.canonical_names, FRAMES, 5.0 + 2 * i) for i in range(people)]
    return [
        np.stack([to_world(j, np.linalg.inv(T)) for j, T in zip(joints, poses(), strict=True)]) for joints in camera
    ]


def content(**changes) -> dict:
    return {
        "sequence": "downtown_bar_00",
        "cam_intrinsics": K,
        "cam_poses": poses(),
        "jointPositions": [joints.reshape(FRAMES, 72) for joints in joints_in_world()],
        "campose_valid": [np.ones(FRAMES, int), np.array([1, 1, 0, 0, 1])],
        "poses2d": [np.ones((FRAMES, 3, 18)), np.zeros((FRAMES, 3, 18))],
        "genders": ["m", "f"],
        "betas": [np.zeros(10)] * 2,
    } | changes


def write(root, name: str = "downtown_bar_00", split: str = "train", images: int = FRAMES, **changes) -> None:
    folder = root / "sequenceFiles" / split
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.pkl").open("wb") as file:
        pickle.dump(content(**changes), file, protocol=2)
    for i in range(images):
        write_image(root / "imageFiles" / name / f"image_{i:05d}.jpg", WIDTH, HEIGHT)


def test_people_and_frames(tmp_path):
    write(tmp_path)
    threedpw = ThreeDPW(tmp_path)
    frames = list(threedpw)
    assert [(frame.sequence, frame.frame) for frame in frames] == [
        *[("downtown_bar_00_0", t) for t in range(5)],
        *[("downtown_bar_00_1", t) for t in (0, 1, 4)],
    ]
    assert frames[6].key == "downtown_bar_00_1_000001"
    (reason,) = threedpw.skipped.values()
    assert reason == "2 of 5 frames have no valid camera pose"
    assert [frame.frame for frame in ThreeDPW(tmp_path, every=2)] == [0, 2, 4, 0, 4]
    assert {frame.sequence for frame in ThreeDPW(tmp_path, detected_only=True)} == {"downtown_bar_00_0"}


def test_joints_cameras_and_pixels(tmp_path):
    write(tmp_path)
    threedpw = ThreeDPW(tmp_path)
    expected = person(SMPL24.canonical_names, FRAMES, 7.0)
    for index, t in ((5, 0), (6, 1), (7, 4)):
        labels, frame = threedpw.labels(index), threedpw[index]
        np.testing.assert_allclose(labels.joints_m, expected[t], atol=1e-9)
        uv = expected[t] @ K.T
        np.testing.assert_allclose(labels.uv_px, uv[:, :2] / uv[:, 2:], atol=1e-9)
        np.testing.assert_allclose(to_world(labels.joints_m, frame.T_world_cam), joints_in_world()[1][t], atol=1e-9)
        np.testing.assert_allclose(frame.T_world_cam @ poses()[t], np.eye(4), atol=1e-12)
        assert facing(SMPL24, labels)
    low, high = labels.uv_px.min(0), labels.uv_px.max(0)
    np.testing.assert_allclose(
        frame.box_xyxy, [*((low + high) / 2 - 0.75 * (high - low)), *((low + high) / 2 + 0.75 * (high - low))]
    )


def test_another_skeleton_and_a_crop(tmp_path):
    write(tmp_path)
    threedpw = ThreeDPW(tmp_path, skeleton=COCO17)
    assert threedpw.labels(0).valid.sum() == 12  # no nose, eyes and ears
    assert facing(COCO17, threedpw.labels(0))
    crop = LabelledCrops(threedpw, CropConfig(64))[3]
    np.testing.assert_allclose(crop.T_world_cam[0].numpy() @ poses()[3], np.eye(4), atol=1e-5)
    valid = crop.valid[0]
    np.testing.assert_allclose(crop.camera.project(crop.joints_m)[0, valid], crop.uv_px[0, valid], atol=2e-3)


def test_missing_images_and_broken_sequences_are_listed(tmp_path):
    write(tmp_path, images=3)
    write(tmp_path, "b", cam_poses=np.zeros((3, 4, 4)))
    write(tmp_path, "c", jointPositions=[np.zeros((FRAMES, 72))])
    (tmp_path / "sequenceFiles/train/d.pkl").write_bytes(b"\x80")
    threedpw = ThreeDPW(tmp_path)
    assert len(threedpw) == 5
    assert threedpw.skipped["downtown_bar_00_0 2 frames from 3 on"] == "the image is missing"
    reasons = {key.rsplit("/", 1)[-1]: reason for key, reason in threedpw.skipped.items()}
    assert reasons["b.pkl"] == "jointPositions of person 0 is 5 x 72, expected 3 x 72"
    assert reasons["c.pkl"] == "1 jointPositions, but 2 campose_valid"
    assert "not a pickle" in reasons["d.pkl"]


def test_camera_poses_that_are_not_rigid_are_left_out(tmp_path):
    changed = poses()
    changed[1, :3, :3] *= 1.3
    changed[2, 0, 0] = np.nan
    changed[3, :3, :3] = np.diag([1.0, 1, -1]) @ changed[3, :3, :3]
    write(tmp_path, cam_poses=changed)
    assert [frame.frame for frame in ThreeDPW(tmp_path)] == [0, 4, 0, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"jointPositions": [1000 * joints.reshape(FRAMES, 72) for joints in joints_in_world()]},
            "jointPositions of person 0 measure .*they look like millimetres",
        ),
        ({"cam_intrinsics": K / 1000}, "cam_intrinsics: the intrinsics .* are impossible"),
        ({"cam_intrinsics": np.diag([0, 196.0, 1])}, "are impossible"),
    ],
)
def test_wrong_units_and_cameras(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(InputError, match=rf"downtown_bar_00\.pkl.*{message}"):
        ThreeDPW(tmp_path)


def test_scaled_images_are_refused(tmp_path):
    write(tmp_path)
    for file in (tmp_path / "imageFiles").rglob("*.jpg"):
        write_image(file, WIDTH // 2, HEIGHT // 2)
    with pytest.raises(InputError, match=r"it is 54x96, but its camera is centred at \(54, 96\): give unscaled images"):
        list(ThreeDPW(tmp_path))


def test_absent_annotations_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"sequenceFiles/test: no <sequence>\.pkl is there"):
        ThreeDPW(tmp_path, "test")
    write(tmp_path, images=1)
    (tmp_path / "sequenceFiles/train/downtown_bar_00.pkl").unlink()
    assert len(ImageFolder(tmp_path / "imageFiles")) == 1
