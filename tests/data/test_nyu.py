from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from data.depth_on_disk import assert_joints_on_the_blob
from data.depth_releases import CX, CY, FX, FY, write_nyu
from data.on_disk import truncate
from posebridge.cameras.cube import foreground
from posebridge.data.crops import CropConfig, CubeCropConfig, LabelledCrops, UnlabelledCrops
from posebridge.data.datasets.nyu import NYU, ROWS_OF_NYU14
from posebridge.errors import InputError
from posebridge.skeletons.depth_hands import NYU14

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "hand_depth_nyu_frame"


@pytest.fixture
def root(tmp_path):
    write_nyu(tmp_path)
    return tmp_path


def test_joints_lie_on_the_blob_in_a_frame_with_y_down(root):
    xyz = write_nyu(root / "again")
    for view in (1, 2, 3):
        nyu = NYU(root, view=view)
        assert len(nyu) == 3
        frame, labels = nyu[1], nyu.labels(1)
        assert (frame.key, frame.frame, frame.view, frame.image) == (f"depth_{view}_0000002", 2, view, None)
        assert frame.depth_m.dtype == np.float32
        np.testing.assert_allclose(
            labels.joints_m, xyz[view - 1, 1][list(ROWS_OF_NYU14)] / [1000, -1000, 1000], rtol=1e-6, atol=1e-7
        )
        assert_joints_on_the_blob(labels.uv_px, labels.joints_m, frame.depth_m)
        projected = labels.joints_m @ frame.K.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], labels.uv_px, atol=1e-3)
        tips = labels.joints_m[[NYU14.index(f"{finger}_4") for finger in ("index", "middle", "ring", "pinky")]]
        assert (tips[:, 1] < labels.joints_m[NYU14.index("palm"), 1]).all()  # fingers point up, and y points down


def test_evaluated_joints_have_the_names_of_the_release():
    named = {NYU14.index("F1_KNU3_A"): "pinky_4", NYU14.index("F4_KNU2_B"): "index_2", NYU14.index("PALM_3"): "palm"}
    assert {NYU14.joints[i]: name for i, name in named.items()} == {name: name for name in named.values()}
    assert list(named) == [ROWS_OF_NYU14.index(0), ROWS_OF_NYU14.index(21), ROWS_OF_NYU14.index(32)]


def test_cube_crops(root):
    config = CubeCropConfig(size_px=96, cube_m=0.25)
    batch = LabelledCrops(NYU(root), config)[2]
    assert batch.depth_m.shape == (1, 96, 96)
    torch.testing.assert_close(batch.camera.project(batch.joints_m), batch.uv_px, atol=2e-3, rtol=0)
    assert ((batch.joints_m - batch.centre_m[:, None]).abs() <= config.cube_m / 2).all()
    assert batch.visible.all()
    u, v = batch.uv_px[0].round().long().unbind(-1)
    assert foreground(batch.depth_m, batch.centre_m, config.cube_m)[0, v, u].all()
    assert ((batch.depth_m[0, v, u] - batch.joints_m[0, :, 2]).abs() < 0.03).all()
    mirrored = LabelledCrops(NYU(root), CubeCropConfig(96, hand="left"))[2]
    torch.testing.assert_close(mirrored.uv_px[..., 0], 95 - batch.uv_px[..., 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored.joints_m, batch.joints_m)
    torch.testing.assert_close(mirrored.camera.project(batch.joints_m), mirrored.uv_px, atol=2e-3, rtol=0)


def test_unlabelled_use_needs_no_annotation(root):
    (root / "test" / "joint_data.mat").unlink()
    nyu = NYU(root)
    assert len(list(nyu)) == 3
    assert UnlabelledCrops(nyu, CubeCropConfig(64))[0].depth_m.shape == (1, 64, 64)
    with pytest.raises(InputError, match=r"joint_data\.mat: no such file; frames can be used without"):
        nyu.labels(0)


def test_centres(root):
    by_blob, by_labels = NYU(root)[0], NYU(root, centres="labels")[0]
    joints_m = NYU(root).labels(0).joints_m
    np.testing.assert_allclose(by_labels.centre_m, joints_m.mean(axis=0), atol=1e-6)
    assert 1e-3 < np.linalg.norm(by_blob.centre_m - by_labels.centre_m) < 0.05
    file = root / "centres.txt"
    file.write_text("10.5 20.5 600\ninvalid invalid invalid\n11 21 601\n")
    nyu = NYU(root, centres=file)
    np.testing.assert_allclose(nyu[0].centre_m, [0.0105, -0.0205, 0.6])  # the release's y points up
    assert [frame.frame for frame in nyu] == [1, 3]
    assert "no valid centre" in nyu.skipped[str(root / "test" / "depth_1_0000002.png")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 600\n" * 4, "4 lines for 3 frames"),
        ("1 2 600\n1 2\n1 2 600\n", "line 2 is neither"),
        ("0.01 0.02 0.6\n" * 3, "0.6 mm before the camera; expected 50 to 3000"),
    ],
)
def test_bad_centres(root, text, message):
    file = root / "centres.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"centres .*centres\.txt: .*{message}"):
        NYU(root, centres=file)
    with pytest.raises(InputError, match="not readable as text"):
        NYU(root, centres=root / "absent.txt")


def test_broken_and_missing_frames_are_listed(root):
    truncate(root / "test" / "depth_1_0000001.png")
    (root / "test" / "depth_1_0000002.png").unlink()
    nyu = NYU(root)
    frames = list(nyu)
    assert [frame.frame for frame in frames] == [3]
    assert sorted(Path(file).name for file in nyu.skipped) == ["depth_1_0000001.png", "depth_1_0000002.png"]
    # Labels stay with their frame's number.
    assert_joints_on_the_blob(nyu.labels(1).uv_px, nyu.labels(1).joints_m, frames[0].depth_m)


def test_a_hand_of_the_wrong_unit(tmp_path):
    write_nyu(tmp_path, scale=100.0)
    with pytest.raises(InputError, match=r"joint_data\.mat: hands measure 2\.\d*e\+04 mm .*expected millimetres"):
        NYU(tmp_path).labels(0)


def test_one_impossible_hand_is_listed(root):
    xyz = write_nyu(root / "again")
    xyz[0, 1] *= -1
    savemat(root / "test" / "joint_data.mat", {"joint_uvd": xyz, "joint_xyz": xyz})
    nyu = NYU(root)
    assert nyu.labels(0).valid.all()
    assert not nyu.labels(1).valid.any()
    assert "joint_data.mat hand 2" in " ".join(nyu.skipped)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: truncate(path, 0.9), "cut off"),
        (lambda path: truncate(path, 0.001), "cut off"),
        (lambda path: path.write_bytes(b"hello"), "not a MATLAB 5 file"),
        (lambda path: savemat(path, {"joint_uvd": np.zeros((3, 3, 36, 3))}), "joint_xyz is not an array"),
        (lambda path: savemat(path, {"joint_uvd": np.zeros((3, 3, 14, 3)), "joint_xyz": 0}), r"\(3, N, 36, 3\)"),
        (
            lambda path: savemat(path, {"joint_uvd": np.zeros((3, 3, 36, 3)), "joint_xyz": np.zeros((3, 4, 36, 3))}),
            "unpack it again",
        ),
    ],
)
def test_bad_annotations(root, damage, message):
    damage(root / "test" / "joint_data.mat")
    with pytest.raises(InputError, match=rf"joint_data\.mat: .*{message}"):
        NYU(root).labels(0)


def test_absent_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no depth_2_0000001\.png"):
        NYU(tmp_path, view=2)


def test_square_crops_keep_depth(root):
    assert UnlabelledCrops(NYU(root), CropConfig(32))[0].depth_m.shape == (1, 32, 32)


def test_a_real_frame(tmp_path):
    if not SAMPLE.is_dir():
        pytest.skip("../shared/data is absent")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "depth_1_0000001.png").write_bytes((SAMPLE / "depth_1_0000001.png").read_bytes())
    uvd = np.load(SAMPLE / "gt_frame1_uvd.npz")["uvd"].astype(float)
    u, v, d = uvd.T
    xyz = np.zeros((3, 1, 36, 3))
    xyz[0, 0, list(ROWS_OF_NYU14)] = np.stack([(u - CX) * d / FX, (v - CY) * d / FY, d], axis=-1)
    all_uvd = np.zeros_like(xyz)
    all_uvd[0, 0, list(ROWS_OF_NYU14)] = uvd
    savemat(tmp_path / "test" / "joint_data.mat", {"joint_uvd": all_uvd, "joint_xyz": xyz})
    frame, labels = NYU(tmp_path)[0], NYU(tmp_path).labels(0)
    assert_joints_on_the_blob(labels.uv_px, labels.joints_m, frame.depth_m)
    u, v = np.rint(labels.uv_px).astype(int).T
    behind_mm = 1000 * (labels.joints_m[:, 2] - frame.depth_m[v, u])
    assert behind_mm.min() == pytest.approx(2.5, abs=0.5)
    assert behind_mm.max() == pytest.approx(33, abs=0.5)
    assert (np.abs(labels.joints_m - frame.centre_m) <= 0.25 / 2).all()
    # Palm to the camera, fingers up, thumb on the right: a right hand.
    by_name = dict(zip(NYU14.joints, labels.joints_m, strict=True))
    assert by_name["thumb_4"][0] > by_name["pinky_4"][0]
    assert by_name["middle_4"][1] < by_name["palm"][1]
