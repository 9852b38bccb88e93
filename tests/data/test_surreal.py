import numpy as np
import pytest
from scipy.io import loadmat, savemat

from data.on_disk import truncate, write_video
from data.people import facing, person, to_world
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.surreal import SURREAL
from posebridge.data.datasets.video import VideoFolder
from posebridge.errors import InputError
from posebridge.skeletons.body import H36M17, SMPL24
from posebridge.skeletons.orders import ORDERS

FRAMES = 6
CAMERA = np.array([6.7, -1.1, -1.9])
# The release's formula: pixels are the rounded projection of joints3D by this left-handed camera.
R_RELEASE = np.array([[0.0, 0, -1], [0, 1, 0], [-1, 0, 0]])


def write_clip(folder, name: str, frames: int = FRAMES, **changes) -> None:
    """A person who faces the camera, in the release's order, which names the sides of the mirror image."""
    seen = person(ORDERS["surreal"], frames)
    world = seen @ np.linalg.inv(R_RELEASE).T + CAMERA
    uv = 600 * seen[..., :2] / seen[..., 2:] + [160, 120]
    info = {
        "joints3D": world.transpose(2, 1, 0).astype(np.float32),
        "joints2D": np.round(uv).transpose(2, 1, 0).astype(np.float32),
        "camLoc": CAMERA[:, None].astype(np.float32),
        "zrot": np.zeros((frames, 1)),
    }
    clip = folder / name.rsplit("_c", 1)[0]
    clip.mkdir(parents=True, exist_ok=True)
    savemat(clip / f"{name}_info.mat", info | changes)
    write_video(clip / f"{name}.mp4", frames, 320, 240)


def small_set(tmp_path):
    write_clip(tmp_path / "cmu/train/run0", "01_01_c0001")
    write_clip(tmp_path / "cmu/train/run0", "01_01_c0002", 1)
    write_clip(tmp_path / "cmu/train/run2", "02_05_c0001")
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_clips_and_frames(root):
    surreal = SURREAL(root)
    keys = [frame.key for frame in surreal]
    assert keys[:2] == ["run0_01_01_c0001_000000", "run0_01_01_c0001_000001"]
    assert len(set(keys)) == len(surreal) == 13
    assert surreal.skipped == {}
    frame = surreal[3]
    assert (frame.sequence, frame.frame) == ("run0_01_01_c0001", 3)
    assert abs(frame.rgb.mean() - (10 + 15 * 3)) < 4  # the image of these labels
    assert len(SURREAL(root, runs=(2,), every=4)) == 2
    assert len(SURREAL(root, clips=2)) == 12


def test_joints_project_onto_the_releases_pixels(root):
    surreal = SURREAL(root)
    info = loadmat(root / "cmu/train/run0/01_01/01_01_c0001_info.mat")
    labels, frame = surreal.labels(2), surreal[2]
    by_formula = labels.joints_m @ frame.K.T
    np.testing.assert_allclose(by_formula[:, :2] / by_formula[:, 2:], labels.uv_px, atol=1e-9)
    released = info["joints2D"][:, :, 2].T  # from the corner of the first pixel, whose centre is our (0, 0)
    names = SMPL24.joints
    for name, uv in zip(names, released, strict=True):
        mirrored = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert np.abs(labels.uv_px[names.index(mirrored)] + 0.5 - uv).max() <= 0.5 + 1e-3
    assert facing(SMPL24, labels)
    assert labels.joints_m[SMPL24.index("left_wrist"), 0] > labels.joints_m[SMPL24.index("right_wrist"), 0]


def test_labels_are_of_the_mirrored_scene(root):
    surreal = SURREAL(root)
    info = loadmat(root / "cmu/train/run0/01_01/01_01_c0001_info.mat")
    T = surreal[2].T_world_cam
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    world = to_world(surreal.labels(2).joints_m, T)
    released = info["joints3D"][:, :, 2].T
    np.testing.assert_allclose(world[0], released[0] * [1, 1, -1], atol=1e-5)
    np.testing.assert_allclose(world[1], released[2] * [1, 1, -1], atol=1e-5)  # their right hip is our left one


def test_other_skeletons_crops_and_boxes(root):
    surreal = SURREAL(root, skeleton=H36M17)
    labels = surreal.labels(0)
    assert not labels.valid[H36M17.index("head")]  # SMPL has no top of the head
    assert labels.valid.sum() == 16
    crop = LabelledCrops(surreal, CropConfig(128))[0]
    np.testing.assert_allclose(
        crop.camera.project(crop.joints_m)[0, labels.valid], crop.uv_px[0, labels.valid], atol=2e-3
    )
    assert crop.visible[0, labels.valid].all()


def test_masks_and_depth(root):
    clip = root / "cmu/train/run0/01_01/01_01_c0001"
    parts, depth = np.zeros((240, 320), np.uint8), np.full((240, 320), 1e10, np.float32)
    parts[50:200, 100:150], depth[50:200, 100:150] = 7, 4.25
    savemat(f"{clip}_segm.mat", {f"segm_{t + 1}": np.roll(parts, t, axis=1) for t in range(FRAMES)})
    savemat(f"{clip}_depth.mat", {f"depth_{t + 1}": depth for t in range(FRAMES)})
    surreal = SURREAL(root, depth=True)
    mask = surreal.labels(3).mask
    assert mask.sum() == 150 * 50
    assert mask[60, 103]
    assert not mask[60, 102]
    assert set(np.unique(surreal[3].depth_m)) == {0, np.float32(4.25)}
    assert SURREAL(root).labels(7).mask is None


def test_broken_clips_are_listed(root):
    train = root / "cmu/train"
    truncate(train / "run0/01_01/01_01_c0002_info.mat")
    (train / "run2/02_05/02_05_c0001.mp4").unlink()
    write_clip(train / "run1", "03_01_c0001", joints3D=np.zeros((3, 24, FRAMES)))
    surreal = SURREAL(root)
    assert len(surreal) == FRAMES
    assert sorted(reason.split(":")[0] for reason in surreal.skipped.values()) == sorted(
        ["the video is missing", "its joints are not finite, or all zero", *_damaged(surreal)]
    )
    truncate(train / "run0/01_01/01_01_c0001.mp4", 0.5)
    with pytest.raises(InputError, match="none of 6 images"):
        list(SURREAL(root))


def _damaged(surreal) -> list[str]:
    return [reason.split(":")[0] for file, reason in surreal.skipped.items() if file.endswith("c0002_info.mat")]


def test_people_outside_the_image_are_left_out(root):
    seen = person(ORDERS["surreal"], FRAMES)
    seen[0, :, 0] += 5
    seen[4:, :, 2] -= 9
    world = seen @ np.linalg.inv(R_RELEASE).T + CAMERA
    uv = 600 * seen[..., :2] / seen[..., 2:] + [160, 120]
    write_clip(
        root / "cmu/val/run0",
        "04_01_c0001",
        joints3D=world.transpose(2, 1, 0),
        joints2D=np.round(uv).transpose(2, 1, 0),
    )
    surreal = SURREAL(root, "validation")
    assert [frame.frame for frame in surreal] == [1, 2, 3]
    assert surreal.skipped == {
        "run0_04_01_c0001 2 frames from 4 on": "a joint is not finite or not in front of the camera",
        "run0_04_01_c0001 frame 0": "no joint lies inside the image",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints3D": 1000 * person(ORDERS["surreal"], FRAMES).T}, "joints3D measure .*they look like millimetres"),
        ({"joints2D": np.zeros((2, 24, FRAMES))}, "px from the projection of joints3D: expected the release's 320x240"),
        ({"camLoc": CAMERA[:, None] + 1}, "px from the projection of joints3D"),
    ],
)
def test_wrong_units_and_cameras(tmp_path, changes, message):
    write_clip(tmp_path / "cmu/train/run0", "01_01_c0001", **changes)
    with pytest.raises(InputError, match=rf"01_01_c0001_info\.mat.*{message}"):
        SURREAL(tmp_path)


def test_absent_folder_and_other_joints_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cmu/train: no run0/<sequence>/<sequence>_c0001_info\.mat"):
        SURREAL(tmp_path)
    write_clip(tmp_path / "cmu/train/run0", "01_01_c0001", joints3D=np.zeros((3, 7, FRAMES)))
    with pytest.raises(InputError, match="joints3D is 3 x 7 x 6, expected 3 x 24 x T"):
        SURREAL(tmp_path)


def test_unlabelled_use_needs_no_annotation(root):
    for file in root.rglob("*.mat"):
        file.unlink()
    assert sum(1 for _ in VideoFolder(root)) == 13
