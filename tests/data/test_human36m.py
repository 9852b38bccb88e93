import sys

import h5py
import numpy as np
import pytest
import torch
from cdflib.cdfwrite import CDF

from data.on_disk import truncate, write_image, write_video
from data.people import facing, person, pixels, rotation, to_world
from posebridge.cameras.pinhole import Camera
from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.human36m import SUBJECTS, Human36M
from posebridge.data.datasets.human36m_cameras import CAMERAS, read_cameras
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.errors import InputError
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.orders import ORDERS

FRAMES, SIZE = 4, 96
# Distortion as strong as in the release, for images of 96 px: f c k1 k2 k3 p1 p2.
LENSES = [[110.0 + i, 109.0, 48.5, 47.0 + i, -0.207, 0.247, -0.003, -0.001, -0.0014] for i in range(4)]
INDEX_OF_17 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]


def pose_of(camera: int, subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Euler angles and the camera's place in mm."""
    return np.array([0.1 * camera, 0.02 * subject, -0.3]), np.array([1000.0 * camera, 200.0 * subject, 1500.0])


def write_metadata(root) -> None:
    w0 = [np.concatenate(pose_of(camera, subject)) for camera in range(4) for subject in range(1, 12)]
    numbers = " ".join(f"{value:.12g}" for value in [*np.concatenate(w0), *np.ravel(LENSES)])
    text = f'<?xml version="1.0"?><config><subjects>11</subjects><w0>[{numbers}]</w0></config>'
    (root / "metadata.xml").write_text(text)


def poses_mm(frames: int = FRAMES, shift_m: float = 0.0) -> np.ndarray:
    """(T, 32, 3): the 17 joints that are used are a person's, the others are not."""
    poses = np.full((frames, 32, 3), 77.0)
    poses[:, INDEX_OF_17] = person(ORDERS["h36m"], frames) * 1000
    poses[:, INDEX_OF_17, 0] += shift_m * 1000
    return poses


def write_cdf(path, poses: np.ndarray, name: str = "Pose") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = {"Variable": name, "Data_Type": CDF.CDF_DOUBLE, "Num_Elements": 1, "Rec_Vary": True}
    spec |= {"Dim_Sizes": [len(poses), poses[0].size], "Dim_Vary": [True, True]}
    file = CDF(str(path), delete=True)
    file.write_var(spec, var_data=poses.reshape(1, len(poses), -1))
    file.close()


def write_release(root, subject: int = 1, action: str = "Directions 1", cameras=CAMERAS, **options) -> None:
    folder = root / f"S{subject}"
    (folder / "Videos").mkdir(parents=True, exist_ok=True)
    for camera in cameras:
        write_video(folder / "Videos" / f"{action}.{camera}.mp4", FRAMES, SIZE, SIZE)
        write_cdf(folder / "MyPoseFeatures" / "D3_Positions_mono" / f"{action}.{camera}.cdf", poses_mm(**options))


def write_extracted(root, subject: int = 1, action: str = "Directions-1") -> None:
    """Every second frame of the video, numbered from 1, as h36m-fetch leaves it."""
    folder = root / f"S{subject}" / action
    numbers = [1, 3]
    for camera in CAMERAS:
        for number in numbers:
            write_image(folder / "imageSequence" / camera / f"img_{number:06d}.jpg", SIZE, SIZE)
    with h5py.File(folder / "annot.h5", "w") as file:
        file["pose/3d"] = np.concatenate([poses_mm()[::2] for _ in CAMERAS])
        file["frame"] = np.tile(numbers, 4)
        file["camera"] = np.repeat([int(camera) for camera in CAMERAS], 2)


def write_all(root, write, subjects=(1, 5, 6, 7, 8, 9, 11)):
    write_metadata(root)
    for subject in subjects:
        write(root, subject)
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("release"), write_release)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("extracted"), write_extracted)


def test_subjects_of_the_protocols(release):
    assert {frame.split("_")[0] for frame in keys(Human36M(release))} == {"S1", "S5", "S6", "S7", "S8"}
    assert {frame.split("_")[0] for frame in keys(Human36M(release, "test"))} == {"S9", "S11"}
    assert {frame.split("_")[0] for frame in keys(Human36M(release, "test", protocol="s11"))} == {"S11"}
    for protocol in SUBJECTS.values():
        assert not set(protocol["train"]) & set(protocol["test"])


def keys(reader) -> list[str]:
    return [frame.key for frame in reader]


def test_frames_of_the_release(release):
    reader = Human36M(release, "test", views=(3, 0))
    assert len(set(keys(reader))) == len(reader) == 2 * 2 * FRAMES
    assert reader.skipped == {}
    frame = reader[FRAMES + 2]
    assert (frame.key, frame.sequence) == ("S9_Directions_1.60457274_000002", "S9_Directions_1")
    assert (frame.frame, frame.view) == (2, 3)
    assert abs(frame.rgb.mean() - (10 + 15 * 2)) < 4
    assert len(Human36M(release, "test", every=3)) == 2 * 4 * 2


def test_extracted_frames(extracted):
    reader = Human36M(extracted, "test", views=(1,))
    assert keys(reader) == [f"S{s}_Directions_1.55011271_{n:06d}" for s in (9, 11) for n in (1, 3)]
    np.testing.assert_allclose(reader.labels(1).joints_m, person(ORDERS["h36m"], 4)[2], atol=1e-6)
    assert reader.skipped == {}


@pytest.mark.parametrize("layout", ["release", "extracted"])
def test_pixels_match_opencv_with_distortion(layout, request):
    reader = Human36M(request.getfixturevalue(layout), "test")
    for index in range(len(reader)):
        frame, labels = reader[index], reader.labels(index)
        fx, fy, cx, cy, k1, k2, k3, p1, p2 = LENSES[frame.view]
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        expected = pixels(labels.joints_m, K, np.array([k1, k2, p1, p2, k3]))
        np.testing.assert_allclose(labels.uv_px, expected, atol=1e-3)
        assert facing(H36M17, labels)
        camera = Camera(torch.tensor(frame.K)[None], torch.tensor(frame.distortion)[None])
        by_camera = camera.project(torch.tensor(labels.joints_m)[None])[0].numpy()
        np.testing.assert_allclose(by_camera, expected, atol=1e-3)


def test_distortion_moves_pixels_at_the_border(tmp_path):
    write_metadata(tmp_path)
    for subject in (9, 11):
        write_release(tmp_path, subject, shift_m=1.6)
    reader = Human36M(tmp_path, "test")
    frame, labels = reader[0], reader.labels(0)
    seen = (labels.uv_px > 0).all(1) & (labels.uv_px < SIZE).all(1)
    straight = pixels(labels.joints_m, frame.K)
    assert seen.any()
    assert np.abs(straight - labels.uv_px)[seen].max() > 0.5
    assert np.abs(pixels(labels.joints_m, frame.K, frame.distortion) - labels.uv_px).max() < 0.02


def test_names_of_joints(release):
    labels = Human36M(release).labels(0)
    expected = dict(zip(ORDERS["h36m"], person(ORDERS["h36m"], 1)[0], strict=True))
    for name in ("pelvis", "left_hip", "right_ankle", "thorax", "left_wrist", "right_elbow"):
        np.testing.assert_allclose(labels.joints_m[H36M17.index(name)], expected[name], atol=1e-6)
    np.testing.assert_allclose(labels.joints_m[H36M17.index("head")], expected["head_top"], atol=1e-6)


def test_cameras_of_the_metadata(release):
    cameras = read_cameras(release / "metadata.xml")
    assert len(cameras) == 44
    for (subject, name), camera in cameras.items():
        (a, b, c), place = pose_of(CAMERAS.index(name), subject)
        R = rotation(a, 0, 0) @ rotation(0, b, 0) @ rotation(0, 0, c)
        point = np.array([0.3, -0.4, 2.0])
        seen = R @ (point - place / 1000)
        np.testing.assert_allclose(to_world(seen, camera.T_world_cam), point, atol=1e-9)
    reader = Human36M(release, "test")
    frames = {frame.view: frame for frame in reader}  # the last of each view is S11's
    for view, frame in frames.items():
        np.testing.assert_array_equal(frame.T_world_cam, cameras[11, CAMERAS[view]].T_world_cam)


def test_crops_keep_the_distortion(release):
    reader = Human36M(release, "test")
    crop = LabelledCrops(reader, CropConfig(64))[5]
    np.testing.assert_allclose(crop.camera.project(crop.joints_m), crop.uv_px, atol=2e-3)
    assert crop.visible.all()


def test_missing_and_broken_files_are_listed(tmp_path):
    write_metadata(tmp_path)
    write_release(tmp_path, 9)
    write_release(tmp_path, 11)
    poses = tmp_path / "S11/MyPoseFeatures/D3_Positions_mono"
    (poses / "Directions 1.54138969.cdf").unlink()
    truncate(poses / "Directions 1.55011271.cdf", 0.3)
    write_cdf(poses / "Directions 1.58860488.cdf", np.zeros((3, 7, 3)))
    (tmp_path / "S9/Videos/_ALL.54138969.mp4").write_bytes(b"")
    reader = Human36M(tmp_path, "test")
    assert len(reader) == 5 * FRAMES
    reasons = {key.rsplit("/", 1)[-1]: reason for key, reason in reader.skipped.items()}
    assert reasons["Directions 1.54138969.cdf"] == "no such file"
    assert "not a CDF file with a variable Pose" in reasons["Directions 1.55011271.cdf"]
    assert "Pose is 3 x 21, expected T x 96" in reasons["Directions 1.58860488.cdf"]
    assert len(reasons) == 3


def test_broken_extracted_frames_are_listed(tmp_path):
    write_all(tmp_path, write_extracted, (9, 11))
    (tmp_path / "S9/Directions-1/imageSequence/60457274/img_000003.jpg").unlink()
    with h5py.File(tmp_path / "S11/Directions-1/annot.h5", "a") as file:
        file.move("pose/3d", "pose/3d-univ")
    reader = Human36M(tmp_path, "test")
    assert len(reader) == 7
    assert reader.skipped["S9_Directions_1.60457274 frame 3"] == "the image is missing"
    assert "it lacks pose/3d" in next(reason for key, reason in reader.skipped.items() if "S11" in key)
    truncate(tmp_path / "S9/Directions-1/annot.h5", 0.3)
    with pytest.raises(InputError, match="not an HDF5 file"):
        Human36M(tmp_path, "test")


@pytest.mark.parametrize("library", ["cdflib", "h5py"])
def test_missing_libraries_are_named(library, release, extracted, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"pip install {library}"):
        Human36M(release if library == "cdflib" else extracted)


def test_wrong_units_and_metadata(tmp_path):
    with pytest.raises(InputError, match=r"metadata\.xml: No such file.*the release's metadata\.xml holds the cameras"):
        Human36M(tmp_path)
    write_metadata(tmp_path)
    with pytest.raises(InputError, match=r"S1: neither Videos/<action>\.<camera>\.mp4 nor <action>/annot\.h5"):
        Human36M(tmp_path)
    write_release(tmp_path, 9, cameras=CAMERAS[:1])
    write_release(tmp_path, 11, cameras=CAMERAS[:1])
    file = tmp_path / "S9/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf"
    write_cdf(file, poses_mm() / 1000)
    with pytest.raises(
        InputError, match=r"S9.*54138969\.cdf: people measure .*expected millimetres .*look like metres"
    ):
        Human36M(tmp_path, "test")
    (tmp_path / "metadata.xml").write_text("<a><w0>[1 2 3]</w0></a>")
    with pytest.raises(InputError, match="w0 with 300 numbers in brackets, found 3"):
        Human36M(tmp_path)
    (tmp_path / "metadata.xml").write_text("no")
    with pytest.raises(InputError, match=r"metadata\.xml: not XML"):
        Human36M(tmp_path)


def test_unlabelled_use_needs_no_annotation(extracted):
    assert len(ImageFolder(extracted / "S1/Directions-1/imageSequence")) == 8
