import h5py
import numpy as np
import pytest
from scipy.io import savemat

from data.on_disk import truncate, write_image, write_video
from data.people import facing, person, pixels, rotation, to_world
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.mpi_inf_3dhp import MpiInf3dhp
from posebridge.errors import InputError
from posebridge.skeletons.body import H36M17, MPII16
from posebridge.skeletons.orders import ORDERS

FRAMES, SIZE, CAMERAS = 4, 128, 3
K = np.array([[100.0, 0, 64.7], [0, 100.2, 63.1], [0, 0, 1]])
# The release's own list of its 28 joints.
RELEASE_28 = [
    "spine3",
    "spine4",
    "spine2",
    "spine",
    "pelvis",
    "neck",
    "head",
    "head_top",
    "left_clavicle",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hand",
    "right_clavicle",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_foot",
    "left_toe",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_foot",
    "right_toe",
]


def extrinsic(camera: int) -> np.ndarray:
    """World to camera, mm."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(0.1, 0.7 * camera, 0), (10, 20 * camera, 3000)
    return T


def write_calibration(folder, K=K) -> None:
    lines = ["Skeletool Camera Calibration File V1.0"]
    for camera in range(CAMERAS):
        intrinsic = np.eye(4)
        intrinsic[:3, :3] = K
        lines += [f"name          {camera}", "  sensor      10 10", f"  size        {SIZE} {SIZE}", "  animated    0"]
        for name, matrix in (("intrinsic", intrinsic), ("extrinsic", extrinsic(camera))):
            lines.append(f"  {name}   " + " ".join(f"{value:.9g}" for value in matrix.ravel()))
        lines.append("  radial      0")
    (folder / "camera.calibration").write_text("\n".join(lines) + "\n")


def cells(arrays: list[np.ndarray]) -> np.ndarray:
    cell = np.empty((len(arrays), 1), dtype=object)
    for i, array in enumerate(arrays):
        cell[i, 0] = array
    return cell


def write_training(root, name: str = "S1/Seq1", images: bool = False, **changes) -> None:
    folder = root / name
    (folder / "imageSequence").mkdir(parents=True)
    people = [person(ORDERS["mpi_inf_3dhp_28"], FRAMES, 5.0 + camera) for camera in range(CAMERAS)]
    annotation = {
        "annot3": cells([(joints * 1000).reshape(FRAMES, 84) for joints in people]),
        "annot2": cells([np.stack([pixels(j, K) for j in joints]).reshape(FRAMES, 56) for joints in people]),
        "univ_annot3": cells([np.zeros((FRAMES, 84))] * CAMERAS),
        "frames": np.arange(FRAMES)[:, None],
        "cameras": np.arange(CAMERAS)[:, None],
    }
    savemat(folder / "annot.mat", annotation | changes)
    write_calibration(folder)
    for camera in range(CAMERAS):
        if images:
            for t in range(FRAMES):
                write_image(folder / f"imageSequence/video_{camera}/frame_{t + 1:06d}.jpg", SIZE, SIZE, seed=t)
        else:
            write_video(folder / "imageSequence" / f"video_{camera}.avi", FRAMES, SIZE, SIZE)


def write_test(root, name: str = "TS1", joints_mm: np.ndarray | None = None, size: int = SIZE) -> None:
    folder = root / "mpi_inf_3dhp_test_set" / name
    (folder / "imageSequence").mkdir(parents=True)
    joints = person(ORDERS["mpi_inf_3dhp"], FRAMES)
    uv = np.stack([pixels(j, K) for j in joints])
    with h5py.File(folder / "annot_data.mat", "w") as file:
        file["annot2"] = uv[:, None]
        file["annot3"] = (joints * 1000 if joints_mm is None else joints_mm)[:, None]
        file["univ_annot3"] = np.zeros((FRAMES, 1, 17, 3))
        file["valid_frame"] = np.array([[1.0], [0], [1], [1]])
        file["activity_annotation"] = np.ones((FRAMES, 1))
    for t in range(FRAMES):
        write_image(folder / f"imageSequence/img_{t + 1:06d}.jpg", size, size)


def test_the_order_of_28_joints():
    ours = ORDERS["mpi_inf_3dhp_28"]
    same = {"spine", "pelvis", "head_top"} | {
        f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "elbow", "wrist")
    }
    same |= {f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle", "clavicle")}
    for place, name in zip(ours, RELEASE_28, strict=True):
        assert place == name or name not in same
        assert place.split("_")[0] == name.split("_")[0] or not name.startswith(("left", "right"))
    assert ours[RELEASE_28.index("neck")] == "thorax"
    assert ours[RELEASE_28.index("head")] == "head_centre"


@pytest.mark.parametrize("images", [False, True])
def test_training(tmp_path, images):
    write_training(tmp_path, images=images)
    write_training(tmp_path, "S2/Seq2", images=images)
    reader = MpiInf3dhp(tmp_path)
    frames = list(reader)
    assert len({frame.key for frame in frames}) == len(frames) == 2 * CAMERAS * FRAMES
    assert reader.skipped == {}
    frame, labels = frames[FRAMES + 2], reader.labels(FRAMES + 2)
    assert (frame.sequence, frame.view) == ("S1_Seq1", 1)
    if images:
        assert frame.frame == 3  # files are numbered from 1
    else:
        assert frame.frame == 2
        assert abs(frame.rgb.mean() - (10 + 15 * 2)) < 4
    expected = dict(zip(ORDERS["mpi_inf_3dhp_28"], person(ORDERS["mpi_inf_3dhp_28"], 3, 6.0)[2], strict=True))
    for name in ("pelvis", "left_hip", "right_ankle", "left_wrist", "right_shoulder", "spine"):
        np.testing.assert_allclose(labels.joints_m[H36M17.index(name)], expected[name], atol=1e-6)
    np.testing.assert_allclose(labels.uv_px, pixels(labels.joints_m, K), atol=1e-4)
    assert labels.valid.all()
    assert facing(H36M17, labels)
    world = to_world(labels.joints_m, frame.T_world_cam) * 1000
    back = world @ extrinsic(1)[:3, :3].T + extrinsic(1)[:3, 3]
    np.testing.assert_allclose(back, labels.joints_m * 1000, atol=1e-3)
    assert [f.view for f in MpiInf3dhp(tmp_path, views=(2,), every=4)] == [2, 2]


def test_the_test_set(tmp_path):
    write_test(tmp_path)
    reader = MpiInf3dhp(tmp_path, "test", skeleton=MPII16)
    assert [frame.key for frame in reader] == ["TS1_000001", "TS1_000003", "TS1_000004"]
    frame, labels = reader[1], reader.labels(1)
    np.testing.assert_allclose(frame.K, K, atol=1e-3)  # found from the annotations
    np.testing.assert_allclose(labels.uv_px[labels.valid], pixels(labels.joints_m, K)[labels.valid], atol=1e-3)
    assert labels.valid.sum() == 15
    assert facing(MPII16, labels)
    crop = LabelledCrops(reader, CropConfig(64))[1]
    valid = crop.valid[0]
    np.testing.assert_allclose(crop.camera.project(crop.joints_m)[0, valid], crop.uv_px[0, valid], atol=2e-3)


def test_missing_and_broken_files_are_listed(tmp_path):
    write_training(tmp_path)
    write_training(tmp_path, "S2/Seq1")
    write_training(tmp_path, "S3/Seq1")
    (tmp_path / "S1/Seq1/imageSequence/video_1.avi").unlink()
    truncate(tmp_path / "S2/Seq1/annot.mat", 0.5)
    (tmp_path / "S3/Seq1/camera.calibration").write_text("Skeletool\nname 0\nintrinsic 1 2\n")
    reader = MpiInf3dhp(tmp_path)
    assert len(reader) == 2 * FRAMES
    reasons = list(reader.skipped.items())
    assert reasons[0] == (
        f"{tmp_path}/S1/Seq1/annot.mat camera 1",
        "its video, its annotation or its calibration is missing",
    )
    assert reasons[1][0].endswith("S2/Seq1/annot.mat")
    assert "intrinsic is not 16 numbers" in reasons[2][1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annot3": cells([np.ones((FRAMES, 84))] * CAMERAS)}, "camera 0: annot3 measure 0 mm across .*no common unit"),
        ({"annot2": cells([np.zeros((FRAMES, 56))] * CAMERAS)}, "annot2 lie .* px from the projection of annot3"),
        ({"annot3": cells([np.ones((FRAMES, 51))] * CAMERAS)}, "annot3 is 4 x 51, expected T x 84"),
    ],
)
def test_wrong_units_and_joints(tmp_path, changes, message):
    write_training(tmp_path, **changes)
    with pytest.raises(InputError, match=rf"annot\.mat.*{message}"):
        MpiInf3dhp(tmp_path)


def test_wrong_cameras(tmp_path):
    write_training(tmp_path)
    write_calibration(tmp_path / "S1/Seq1", np.diag([-100.0, 100, 1]))
    with pytest.raises(InputError, match=r"intrinsics fx=-100 fy=100 cx=0 cy=0 are impossible"):
        MpiInf3dhp(tmp_path)
    write_test(tmp_path, joints_mm=person(ORDERS["mpi_inf_3dhp"], FRAMES))
    with pytest.raises(InputError, match=r"annot_data\.mat: annot3 measure .*they look like metres"):
        MpiInf3dhp(tmp_path, "test")
    write_test(tmp_path / "b", size=3 * SIZE)
    with pytest.raises(InputError, match="it is 384x384, but its camera is centred"):
        list(MpiInf3dhp(tmp_path / "b", "test"))


def test_absent_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"S1/Seq1/annot\.mat and so on: no such file"):
        MpiInf3dhp(tmp_path)
    with pytest.raises(InputError, match=r"mpi_inf_3dhp_test_set/TS1/annot_data\.mat and so on"):
        MpiInf3dhp(tmp_path, "test")
