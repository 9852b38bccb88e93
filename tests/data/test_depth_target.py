import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.rendered_depth import UNIT_M, hands, write_archive, write_depth, write_rig
from posebridge.cameras.multiview import transform
from posebridge.contracts.batch import concatenate
from posebridge.data.crops import CubeCropConfig
from posebridge.data.datasets.depth_archive import DepthArchive
from posebridge.data.datasets.depth_rig import DepthRig
from posebridge.data.depth_target import DepthCrops, DepthTargetConfig, open_depth
from posebridge.data.multiview_stream import moments_of
from posebridge.errors import InputError

CROP = CubeCropConfig(64)


@pytest.fixture(scope="module")
def batch():
    return hands()


def crops_of(config: DepthTargetConfig):
    crops = DepthCrops(open_depth(config), CROP)
    return concatenate(list(crops)), crops.skipped


def assert_same_place(found, expected, tolerance_m: float = 0.04):
    """Cubes of all views of a moment are centred at the hand in the world; each view has its own depth."""
    world = transform(found.T_world_cam, found.centre_m[:, None])[:, 0]
    for own in moments_of(found):
        assert (world[own] - world[own].mean(0)).norm(dim=1).max() < tolerance_m
    joints = transform(expected.T_world_cam, expected.joints_m).mean(1)
    assert (world[:3] - joints[:3]).norm(dim=1).max() < 0.05


def test_an_archive_of_calibrated_views(batch, tmp_path):
    found, skipped = crops_of(DepthTargetConfig(write_archive(tmp_path / "clip.npz", batch)))
    assert skipped == {}
    assert found.key == tuple(f"clip-{i}" for i in range(6))
    assert [own.tolist() for own in moments_of(found)] == [[0, 1, 2], [3, 4, 5]]
    assert_same_place(found, batch)


def test_archives_may_lack_optional_arrays(batch, tmp_path):
    depth_mm = (1000 * batch.depth_m[:2].numpy()).round().astype(np.uint16)
    names = {"depth_m": None, "sequence": None, "frame": None, "view": None, "T_world_cam": None}
    centre_m = batch.centre_m[:2].numpy()
    one_camera = batch.camera.K[0].numpy()
    file = write_archive(tmp_path / "a.npz", batch, **names, depth_mm=depth_mm, K=one_camera, centre_m=centre_m)
    frames = list(DepthArchive(file))
    np.testing.assert_allclose(frames[0].depth_m, batch.depth_m[0], atol=6e-4)
    np.testing.assert_allclose(frames[1].centre_m, centre_m[1])
    assert [(f.key, f.sequence, f.frame, f.view, f.T_world_cam) for f in frames] == [
        ("a-0", "a", 0, 0, None),
        ("a-1", "a", 1, 0, None),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_m": None}, "one array depth_m or depth_mm"),
        ({"depth_m": np.zeros((2, 3))}, "one array depth_m or depth_mm"),
        ({"K": None}, "needs the intrinsics K"),
        ({"K": np.zeros((6, 3, 3))}, "is no camera's K"),
        ({"K": np.array([[300, 0, 0], [0, 300, 0], [48, 48, 1]])}, "is no camera's K"),  # transposed
        ({"K": np.diag([0.7, 0.9, 1])}, "fx=0.7 fy=0.9 cx=0 cy=0 are impossible: expected pixels"),
        ({"K": np.eye(3) * 1j}, "K is of complex128, expected real numbers"),
        ({"depth_m": np.zeros((0, 4, 4))}, "it holds no frame"),
        ({"frame": np.array(list("abcdef"))}, "frame is of <U1, expected whole numbers"),
        ({"view": np.full(6, np.nan)}, "view is of float64, expected whole numbers"),
        ({"centre_m": np.full((6, 3), "a")}, "centre_m is of <U1, expected real numbers"),
        ({"T_world_cam": np.zeros((6, 4, 4))}, "no rotation and translation"),
        ({"T_world_cam": np.tile(np.eye(4) + np.eye(4)[[3]].T @ np.eye(4)[[0]], (6, 1, 1))}, "no rotation and"),
        ({"T_world_cam": np.eye(4)}, r"T_world_cam is \(4, 4\), not \(6, 4, 4\)"),
        ({"key": np.array(["a"] * 6)}, "more than once"),
        ({"key": np.array(["a", "b", "c/../../d", "e", "f", "g"])}, "'c/../../d' is no name of a file"),
        ({"key": np.array(["a", "b", "/tmp/c", "d", "e", "f"])}, "'/tmp/c' is no name of a file"),
        ({"key": np.array(["a", "b", "", "d", "e", "f"])}, "'' is no name of a file"),
        ({"key": np.array(["a", "b", "c\0.ply", "d", "e", "f"])}, "is no name of a file"),
        ({"key": np.array([{}] * 6)}, "Python objects, which are never loaded"),
    ],
)
def test_invalid_archives_are_refused(batch, tmp_path, changes, message):
    file = write_archive(tmp_path / "clip.npz", batch, **changes)
    with pytest.raises(InputError, match=message):
        open_depth(DepthTargetConfig(file))


def test_views_of_a_moment_are_adjacent(batch, tmp_path):
    by_camera = [0, 3, 1, 4, 2, 5]
    stored = batch.take(torch.tensor(by_camera))
    keys = [f"clip-{i}" for i in by_camera]
    frames = list(DepthArchive(write_archive(tmp_path / "clip.npz", stored, key=np.array(keys))))
    assert [frame.key for frame in frames] == [f"clip-{i}" for i in range(6)]
    for i, frame in enumerate(frames):
        assert (frame.frame, frame.view) == (batch.frame[i], batch.view[i])
        np.testing.assert_array_equal(frame.depth_m, batch.depth_m[i])
        np.testing.assert_allclose(frame.T_world_cam, batch.T_world_cam[i], rtol=1e-6)


def test_translations_in_millimetres(batch, tmp_path):
    poses = batch.T_world_cam.clone()
    poses[:, :3, 3] *= 1000
    file = write_archive(tmp_path / "clip.npz", batch, T_world_cam=poses.numpy())
    with pytest.raises(InputError, match=r"stand .* m apart; T_world_cam is read as metres"):
        open_depth(DepthTargetConfig(file))


def test_folders_of_cameras_around_a_hand(batch, tmp_path):
    folder = write_rig(tmp_path / "rig", batch)
    found, skipped = crops_of(DepthTargetConfig(folder, unit_mm=1000 * UNIT_M))
    assert skipped == {}
    # 7 comes before 12: numbers are sorted by value.
    assert found.key == ("left/7", "middle/7", "right/7", "left/12", "middle/12", "right/12")
    assert [own.tolist() for own in moments_of(found)] == [[0, 1, 2], [3, 4, 5]]
    assert_same_place(found, batch)


def change_cameras(folder, change):
    content = json.loads((folder / "cameras.json").read_text())
    change(content)
    (folder / "cameras.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["left"].pop("T_world_cam"), "not a calibration"),
        (lambda content: content["left"].update(T_world_cam=np.zeros((4, 4)).tolist()), "T_world_cam of left is no"),
        (lambda content: content["left"].update(T_world_cam=np.diag([1, 1, -1, 1]).tolist()), "T_world_cam of left"),
        (lambda content: content["left"].update(intrinsics=[0, 0, 0, 0]), "fx=0 fy=0 cx=0 cy=0 are impossible"),
        (lambda content: content["left"]["T_world_cam"][0].__setitem__(3, 5000.0), "T_world_cam: cameras of one hand"),
        (lambda content: content["left"]["T_world_cam"][3].__setitem__(0, 0.1), "T_world_cam of left is no"),
        (lambda content: content["left"].update(intrinsics=[1, 2]), "not a calibration"),
        (lambda content: content["left"].update(intrinsics=[10**400] * 4), "not a calibration"),
        (lambda content: content["left"].update(distortion=[0.1] * 8), "left has the unknown fields distortion"),
        (lambda content: content.update(left=[1, 2]), "left is no object"),
        (lambda content: content.update(behind=content["left"]), "behind"),
        (lambda content: content.update({"../left": content["left"]}), "'../left' is no name of a folder beside it"),
        (lambda content: content.update({"..": content["left"]}), "'..' is no name of a folder beside it"),
        (lambda content: content.clear(), "not a calibration"),
    ],
)
def test_invalid_calibrations_are_refused(batch, tmp_path, change, message):
    folder = write_rig(tmp_path / "rig", batch)
    change_cameras(folder, change)
    with pytest.raises(InputError, match=message):
        open_depth(DepthTargetConfig(folder, unit_mm=1000 * UNIT_M))


def test_views_of_different_times(batch, tmp_path):
    folder = write_rig(tmp_path / "rig", batch)
    for name in ("middle", "right"):
        for file in list((folder / name).iterdir()):
            file.rename(file.with_name(f"{name}-{file.name}"))
    with pytest.raises(InputError, match="no moment was seen by two cameras"):
        DepthRig(folder, UNIT_M)


def test_duplicate_views_of_a_moment_are_refused(batch, tmp_path):
    file = write_archive(tmp_path / "a.npz", batch, view=None, T_world_cam=None)
    with pytest.raises(InputError, match="frame 0, occurs twice; give its views different numbers in view"):
        open_depth(DepthTargetConfig(file))


def test_inverted_calibrations_are_refused(batch, tmp_path):
    T_cam_world = torch.linalg.inv(batch.T_world_cam).numpy()
    file = write_archive(tmp_path / "a.npz", batch, T_world_cam=T_cam_world)
    with pytest.raises(InputError, match=r"a-0: the hands .* \d\.\d\d m apart .* together if T_world_cam is inverted"):
        crops_of(DepthTargetConfig(file))


def test_a_view_of_another_time_is_left_out(batch, tmp_path):
    centre_m = batch.centre_m.clone()
    centre_m[1, 0] += 0.2  # of three views of the first moment, and of two of the second
    centre_m[4, 0] -= 0.2
    two_of_it = torch.tensor([0, 1, 2, 3, 4])
    kept = {name: getattr(batch, name)[two_of_it].numpy() for name in ("depth_m", "frame", "view", "T_world_cam")}
    sequence = np.array(batch.sequence)[:5]
    file = write_archive(
        tmp_path / "a.npz",
        batch,
        **kept,
        sequence=sequence,
        K=batch.camera.K[two_of_it].numpy(),
        centre_m=centre_m[two_of_it].numpy(),
    )
    crops = DepthCrops(open_depth(DepthTargetConfig(file)), replace(CROP, cube_m=0.39))
    assert [crop.key[0] for crop in crops] == ["a-0", "a-2"]
    assert set(crops.skipped) == {"a-1", "a-3", "a-4"}
    assert all("0.20 m apart in the world: check T_world_cam" in why for why in crops.skipped.values())


def test_a_cube_without_a_hand_is_left_out(batch, tmp_path):
    (tmp_path / "d").mkdir()
    for i in range(2):
        write_depth(tmp_path / "d" / f"{i}.png", batch.depth_m[0].numpy())
    K = batch.camera.K[0]
    centre = 1000 * batch.centre_m[0]
    line = " ".join(f"{x:.1f}" for x in centre.tolist())
    (tmp_path / "centres.txt").write_text(f"{line}\n0 0 2500\n")
    pixels = tuple(x.item() for x in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    config = DepthTargetConfig(tmp_path / "d", pixels, 1000 * UNIT_M, centres=tmp_path / "centres.txt")
    found, skipped = crops_of(config)
    assert found.key == ("0",)
    assert "no surface of a hand's size" in skipped["1"]
    (tmp_path / "centres.txt").write_text("0 0 2500\n0 0 2500\n")
    with pytest.raises(InputError, match="no frame can be used; 0: its cube holds no surface"):
        list(DepthCrops(open_depth(config), CROP))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DepthTargetConfig, "needs its camera's intrinsics"),
        (lambda path: DepthTargetConfig(path, (1.0, 1.0, 0.0, 0.0), reach_m=(1.0, 0.5)), "two rising distances"),
        (lambda path: DepthTargetConfig(path / "a.npz", (1.0, 1.0, 0.0, 0.0)), "leave --intrinsics and --centres out"),
        (lambda path: DepthTargetConfig(path / "a.npz"), "no such file"),
    ],
)
def test_invalid_targets_are_refused(tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        open_depth(config(tmp_path))


def test_frames_without_centres_are_the_whole_image(batch, tmp_path):
    file = write_archive(tmp_path / "clip.npz", batch)
    frame = open_depth(DepthTargetConfig(file))[0]
    assert frame.centre_m is None
    assert torch.equal(torch.from_numpy(frame.depth_m), batch.depth_m[0])
