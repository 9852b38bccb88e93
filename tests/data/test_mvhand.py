import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from data.hand_sets import check_hand, hand_mm, ordered
from data.on_disk import write_image
from posebridge.data.datasets.mvhand import MVHand
from posebridge.errors import InputError

ROWS = ("wrist", *(f"{finger}_{i}" for finger in ("index", "middle", "ring", "pinky", "thumb") for i in (1, 2, 3, 4)))
PEOPLE = ("7-14-1-2", "9-10-1-2", "9-17-1-2", "9-25-1-2")
CAMERAS = ("840412062035", "840412062037", "840412062038", "840412062076")
K1 = np.array([[615.85, 0, 316.062], [0, 615.477, 247.156], [0, 0, 1]])  # of the second one
FRAMES = 2


def pose(view: int) -> np.ndarray:
    """T_world_cam in millimetres: cameras around the hand; the third is the world's frame."""
    T = np.eye(4)
    if view != 2:
        T[:3, :3] = Rotation.from_euler("y", 12.0 * (2 - view), degrees=True).as_matrix()
        T[:3, 3] = [(view - 2) * 150, 5 * view, 10]
    return T


def write_person(folder, seed: int, scale: float = 1.0) -> None:
    joints = np.stack([ordered(hand_mm(seed + i), ROWS) for i in range(FRAMES)]) * scale
    homogeneous = np.concatenate([joints, np.ones((FRAMES, 21, 1))], axis=-1)[..., None]
    (folder / "mlresults").mkdir(parents=True)
    np.save(folder / "mlresults" / f"{folder.name}-joints.npy", homogeneous)
    (folder / "calib.pkl").write_bytes(pickle.dumps({serial: pose(v) for v, serial in enumerate(CAMERAS)}))
    for number in range(FRAMES):
        for view in range(4):
            write_image(folder / "rgb" / f"{number:05d}_{view}.jpg", 64, 48)


def small_set(tmp_path):
    for seed, name in enumerate(PEOPLE):
        write_person(tmp_path / name, 10 * seed)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_views_have_their_own_camera_poses(root):
    mvhand = MVHand(root)
    frames = list(mvhand)
    assert [frame.key for frame in frames[:5]] == [
        *("7-14-1-2_00000_0", "7-14-1-2_00000_1", "7-14-1-2_00000_2", "7-14-1-2_00000_3", "7-14-1-2_00001_0")
    ]
    world = hand_mm(1)
    inverse = np.linalg.inv(pose(1))
    seen = {name: inverse[:3, :3] @ xyz + inverse[:3, 3] for name, xyz in world.items()}
    check_hand(mvhand, 5, seen, K1)
    assert (frames[5].sequence, frames[5].frame, frames[5].view, frames[5].hand) == ("7-14-1-2", 1, 1, "right")
    for i in range(4, 8):
        T = frames[i].T_world_cam
        in_world = mvhand.labels(i).joints_m @ T[:3, :3].T + T[:3, 3]
        np.testing.assert_allclose(in_world[0], world["wrist"] / 1000, atol=1e-9)


def test_train_and_test_split_have_two_people_each(root):
    assert {frame.sequence for frame in MVHand(root)} == set(PEOPLE[:2])
    assert {frame.sequence for frame in MVHand(root, "test")} == set(PEOPLE[2:])
    some = MVHand(root, "all", views=(1, 3))
    assert len(some) == 4 * FRAMES * 2
    assert {frame.view for frame in some} == {1, 3}
    with pytest.raises(InputError, match="not 4"):
        MVHand(root, views=(0, 4))


def test_depth(root):
    depth_mm = np.arange(48 * 64).reshape(48, 64)
    red_green_blue = np.stack([0 * depth_mm, depth_mm // 256, depth_mm % 256], axis=-1).astype(np.uint8)
    (root / PEOPLE[0] / "depth").mkdir()
    Image.fromarray(red_green_blue).save(root / PEOPLE[0] / "depth" / "00000_1.png")
    np.testing.assert_allclose(MVHand(root, depth=True)[1].depth_m, depth_mm / 1000, rtol=1e-6)
    assert MVHand(root)[1].depth_m is None


def test_missing_images_are_listed(root):
    missing = root / PEOPLE[1] / "rgb" / "00001_2.jpg"
    missing.unlink()
    mvhand = MVHand(root)
    assert len(mvhand) == 2 * FRAMES * 4 - 1
    assert mvhand.skipped == {str(missing): "the file is missing"}


def write_joints(root, value):
    np.save(root / PEOPLE[0] / "mlresults" / f"{PEOPLE[0]}-joints.npy", value, allow_pickle=True)


def write_calibration(root, value):
    (root / PEOPLE[0] / "calib.pkl").write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: write_joints(r, np.zeros((2, 20, 4))), r"joints\.npy: expected homogeneous joints"),
        (lambda r: write_joints(r, np.array([object()])), r"joints\.npy holds Python objects"),
        (lambda r: (r / PEOPLE[0] / "mlresults" / f"{PEOPLE[0]}-joints.npy").unlink(), r"joints\.npy: No such file"),
        (lambda r: write_calibration(r, {CAMERAS[0]: np.eye(4)}), r"calib\.pkl: expected a dictionary"),
        (lambda r: write_calibration(r, dict.fromkeys(CAMERAS, np.eye(3))), r"calib\.pkl: .* is 3 x 3, expected 4 x 4"),
        (
            lambda r: write_calibration(r, dict.fromkeys(CAMERAS, np.diag([1.0, 1, -1, 1]))),
            r"calib\.pkl: the pose of camera 840412062035 is not a rotation",
        ),
        (lambda r: [file.unlink() for file in r.glob("*/rgb/*")], r"no image 7-14-1-2/rgb/00000_0\.jpg"),
    ],
)
def test_bad_files(root, change, message):
    change(root)
    with pytest.raises(InputError, match=message):
        MVHand(root)


def test_metres_and_millimetres(tmp_path):
    for name in PEOPLE[:2]:
        write_person(tmp_path / name, 0, scale=0.001)
    with pytest.raises(
        InputError, match=r"7-14-1-2-joints\.npy: hands measure .* expected millimetres .*they look like metres"
    ):
        MVHand(tmp_path)
