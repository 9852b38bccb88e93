import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.on_disk import truncate, write_image
from posebridge.cameras.pinhole import apply_affine
from posebridge.data.crops import CropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.rhd import RHD
from posebridge.data.in_memory import InMemoryDataset
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21

FORMATS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "formats"
K = np.array([[300.0, 0, 160], [0, 300, 160], [0, 0, 1]])


def hand_xyz(centre, seed: int, size: float = 0.04) -> np.ndarray:
    xyz = np.random.default_rng(seed).uniform(-size, size, (21, 3)) + centre
    xyz[0] = np.array(centre) - [0, 2 * size, 0]  # the wrist differs from all others
    return xyz


def annotation(left, right, left_visible: int = 21, right_visible: int = 21) -> dict:
    xyz = np.concatenate([left, right]).astype(np.float32)
    uv = xyz @ K.T
    visible = np.concatenate([np.arange(21) < left_visible, np.arange(21) < right_visible])
    return {
        "xyz": xyz,
        "uv_vis": np.concatenate([uv[:, :2] / uv[:, 2:], visible[:, None]], axis=1).astype(np.float32),
        "K": K.astype(np.float32),
    }


def small_set(tmp_path):
    apart = (hand_xyz((-0.1, 0, 0.5), 0), hand_xyz((0.1, 0, 0.5), 1))
    close = (hand_xyz((-0.01, 0, 0.5), 0), hand_xyz((0.01, 0, 0.5), 1))
    annotations = {
        0: annotation(*apart),
        1: annotation(*apart, left_visible=16, right_visible=17),
        2: annotation(*close),
        3: annotation(*close, right_visible=0),
        4: annotation(*apart),
    }
    folder = tmp_path / "training"
    for i in range(4):
        write_image(folder / "color" / f"{i:05d}.png", 320, 320, seed=i)
    with (folder / "anno_training.pickle").open("wb") as file:
        pickle.dump(annotations, file, protocol=2)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_hands_with_enough_visible_joints_are_used(root):
    rhd = RHD(root)
    # 0: both; 1: only the right one has 17 visible joints; 2: they overlap; 3: the right one isn't visible at all.
    assert [frame.key for frame in rhd] == ["00000_left", "00000_right", "00001_right", "00003_left"]
    assert list(rhd.skipped) == [str(root / "training" / "color" / "00004.png")]


def test_joints_project_onto_their_pixels(root):
    rhd = RHD(root)
    with (root / "training" / "anno_training.pickle").open("rb") as file:
        annotations = pickle.load(file)
    frame, labels = rhd[1], rhd.labels(1)
    projected = labels.joints_m @ frame.K.T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], labels.uv_px, atol=1e-3)
    release = annotations[0]["xyz"]
    np.testing.assert_array_equal(labels.joints_m[HAND21.index("wrist")], release[21])
    np.testing.assert_array_equal(labels.joints_m[HAND21.index("thumb_4")], release[22])  # the tip comes first
    np.testing.assert_array_equal(labels.joints_m[HAND21.index("thumb_1")], release[25])
    np.testing.assert_array_equal(labels.joints_m[HAND21.index("pinky_1")], release[41])
    low, high = labels.uv_px.min(0), labels.uv_px.max(0)
    np.testing.assert_allclose(frame.box_xyxy[2:] - frame.box_xyxy[:2], 1.5 * (high - low), rtol=1e-6)
    np.testing.assert_allclose(frame.box_xyxy[2:] + frame.box_xyxy[:2], high + low, rtol=1e-6)


def test_visibility_is_reordered_with_the_joints(root):
    labels = RHD(root).labels(2)
    # The release's joints 17 to 20 are hidden: the pinky, tip (17) to base (20).
    assert [HAND21.joints[j] for j in np.flatnonzero(~labels.visible)] == ["pinky_1", "pinky_2", "pinky_3", "pinky_4"]
    assert labels.valid.all()


def test_left_hands_are_mirrored(root):
    batch = InMemoryDataset(LabelledCrops(RHD(root), CropConfig(96, hand="annotated"))[i] for i in range(4)).part(
        slice(0, 4)
    )
    determinants = torch.linalg.det(batch.T_crop_file)
    assert (determinants < 0).tolist() == ["left" in key for key in batch.key]
    torch.testing.assert_close(batch.camera.project(batch.joints_m), batch.uv_px, atol=2e-3, rtol=0)
    assert batch.visible[:2].all()


def test_depth_and_mask(root):
    folder = root / "training"
    depth_m = np.linspace(0.1, 4.9, 320 * 320).reshape(320, 320)
    levels = np.round(depth_m / 5 * (2**16 - 1)).astype(int)
    for kind in ("depth", "mask"):
        (folder / kind).mkdir()
    for i in range(4):
        Image.fromarray(np.stack([levels // 256, levels % 256, 0 * levels], -1).astype(np.uint8)).save(
            folder / "depth" / f"{i:05d}.png"
        )
        classes = np.zeros((320, 320), np.uint8)
        classes[:100], classes[100:200], classes[200:300] = 1, 17, 18
        Image.fromarray(classes).save(folder / "mask" / f"{i:05d}.png")
    rhd = RHD(root, depth=True)
    np.testing.assert_allclose(rhd[0].depth_m, depth_m, atol=5 / 65535)
    left, right = rhd.labels(0).hand_mask, rhd.labels(1).hand_mask
    assert left[100:200].all()
    assert left.sum() == 100 * 320
    assert right[200:300].all()
    assert right.sum() == 100 * 320
    crop = LabelledCrops(rhd, CropConfig(64))[0]
    assert crop.depth_label_m.shape == crop.hand_mask.shape == (1, 64, 64)
    # The mask of a crop's pixel is that of the pixel of the file below it.
    inverse = torch.linalg.inv(crop.T_crop_file)
    at = apply_affine(inverse, torch.tensor([[[30.0, 40.0]]]))[0, 0].round().int().tolist()
    assert bool(crop.hand_mask[0, 40, 30]) == bool(left[at[1], at[0]])


def test_a_hand_of_impossible_size_is_listed(root):
    path = root / "training" / "anno_training.pickle"
    content = pickle.loads(path.read_bytes())
    content[1]["xyz"] *= 200
    path.write_bytes(pickle.dumps(content))
    rhd = RHD(root)
    assert [frame.key for frame in rhd] == ["00000_left", "00000_right", "00003_left"]
    assert "across a hand's joints, expected 20 to 500 mm" in rhd.skipped[f"{path} image 1 (right)"]


def test_real_samples(tmp_path):
    if not FORMATS.is_dir():
        pytest.skip("../shared/data is absent")
    source = FORMATS / "hand" / "rhd"
    content = json.loads((source / "test_rhd.json").read_text())
    (tmp_path / "training" / "color").mkdir(parents=True)
    annotations = {}
    for image, given in zip(content["images"], content["annotations"], strict=True):
        shutil.copy(source / image["file_name"], tmp_path / "training" / "color")
        rows = slice(0, 21) if given["hand_type"] == "left" else slice(21, 42)
        camera = image["cam_param"]
        K_image = np.diag([*camera["focal"], 1.0])
        K_image[:2, 2] = camera["princpt"]
        xyz, uv_vis = np.ones((42, 3)), np.zeros((42, 3))
        xyz[rows], uv_vis[rows] = np.array(given["joint_cam"]) / 1000, given["keypoints"]
        annotations[image["id"]] = {"xyz": xyz, "uv_vis": uv_vis, "K": K_image}
    (tmp_path / "training" / "anno_training.pickle").write_bytes(pickle.dumps(annotations))
    rhd = RHD(tmp_path)
    assert [frame.hand for frame in rhd] == [given["hand_type"] for given in content["annotations"]]
    for i, frame in enumerate(rhd):
        labels = rhd.labels(i)
        projected = labels.joints_m @ frame.K.T
        assert np.abs(projected[:, :2] / projected[:, 2:] - labels.uv_px).max() < 0.2  # the release rounds
        assert ((labels.uv_px > -0.5) & (labels.uv_px < 319.5))[labels.visible].all()
        assert 0.06 < np.linalg.norm(labels.joints_m[0] - labels.joints_m[HAND21.index("middle_1")]) < 0.12


def test_unlabelled_use_needs_no_annotation(root):
    (root / "training" / "anno_training.pickle").unlink()
    frames = ImageFolder(root / "training" / "color")
    assert UnlabelledCrops(frames, CropConfig(64))[0].image.shape == (1, 3, 64, 64)


def test_broken_image_is_skipped(root):
    truncate(root / "training" / "color" / "00001.png")
    rhd = RHD(root)
    assert [frame.key for frame in rhd] == ["00000_left", "00000_right", "00003_left"]
    assert len(rhd.skipped) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[0].update(xyz=np.zeros((21, 3))), r"xyz of image 0 is not an array of numbers of shape \(42, 3\)"),
        (lambda a: a[1].pop("K"), "K of image 1"),
        (lambda a: a[2].update(uv_vis=np.full((42, 3), np.nan)), "uv_vis of image 2 is not finite"),
        (lambda a: a.update(x=a[0]), "not whole numbers"),
        (lambda a: a[1].update(K=np.diag([-300.0, 300, 1])), "image 1: the intrinsics .* are impossible"),
        (
            lambda a: [a[i].update(xyz=1000 * a[i]["xyz"]) for i in range(4)],
            "hands measure .*expected metres .*look like millimetres",
        ),
        (lambda a: a.clear(), "expected a dictionary"),
    ],
)
def test_bad_annotations(root, change, message):
    path = root / "training" / "anno_training.pickle"
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=rf"anno_training\.pickle: .*{message}"):
        RHD(root)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        RHD(root)
