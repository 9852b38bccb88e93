import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from data.hand_sets import check_hand, hand_mm, ordered
from data.on_disk import truncate, write_image
from posebridge.data.datasets.stb import STB
from posebridge.errors import InputError

# The release's rows by name; the first is the palm's centre.
FINGERS = ("pinky", "ring", "middle", "index", "thumb")
ROWS = tuple(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3, 4))
K_SK = np.array([[607.92271, 0, 314.78337], [0, 607.88192, 236.42484], [0, 0, 1]])
K_BB = np.array([[822.79041, 0, 318.47345], [0, 822.79041, 250.31296], [0, 0, 1]])
FRAMES = 2


def palm_of(joints) -> np.ndarray:
    return (joints["wrist"] + joints["middle_1"]) / 2


def hand_para(hands) -> np.ndarray:
    joints = np.stack([np.concatenate([[palm_of(hand)], ordered(hand, ROWS)]) for hand in hands])
    return joints.transpose(2, 1, 0)


def hands_of(background: int) -> list:
    return [hand_mm(10 * background + i, (20.0, -30, 600)) for i in range(FRAMES)]


def small_set(tmp_path):
    rotation = Rotation.from_rotvec([0.00531, -0.01196, 0.00301])
    for background in range(1, 7):
        for motion in ("Counting", "Random"):
            sequence = f"B{background}{motion}"
            hands = hands_of(background)
            # The depth camera's frame, which is that of the release's joints of SK.
            seen = [
                {name: np.add(rotation.apply(xyz), [-24.0381, -0.4563, -1.2326]) for name, xyz in hand.items()}
                for hand in hands
            ]
            (tmp_path / "labels").mkdir(exist_ok=True)
            savemat(tmp_path / "labels" / f"{sequence}_SK.mat", {"handPara": hand_para(seen)})
            savemat(tmp_path / "labels" / f"{sequence}_BB.mat", {"handPara": hand_para(hands)})
            for i in range(FRAMES):
                for camera in ("SK_color", "BB_left", "BB_right"):
                    write_image(tmp_path / "images" / sequence / f"{camera}_{i}.png")
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_colour_camera_of_the_depth_sensor(root):
    stb = STB(root, "test")
    frames = list(stb)
    assert [frame.key for frame in frames] == [
        *("B1Counting_SK_color_0", "B1Counting_SK_color_1", "B1Random_SK_color_0", "B1Random_SK_color_1")
    ]
    assert {frame.hand for frame in frames} == {"left"}
    assert [(frame.sequence, frame.frame) for frame in frames[:2]] == [("B1Counting", 0), ("B1Counting", 1)]
    for i in range(4):
        check_hand(stb, i, hands_of(1)[i % 2], K_SK)


def test_stereo_pair(root):
    left, right = STB(root, "test", "BB_left"), STB(root, "test", "BB_right")
    check_hand(left, 1, hands_of(1)[1], K_BB)
    check_hand(right, 1, {name: xyz - [120.054, 0, 0] for name, xyz in hands_of(1)[1].items()}, K_BB)
    # Disparity: baseline times focal length over depth.
    disparity = left.labels(0).uv_px - right.labels(0).uv_px
    np.testing.assert_allclose(disparity[:, 0], 120.054 * 822.79041 / (1000 * left.labels(0).joints_m[:, 2]))
    np.testing.assert_allclose(disparity[:, 1], 0, atol=1e-9)
    assert (left[0].view, right[0].view) == (0, 1)


def test_protocol(root):
    train, everything = STB(root), STB(root, "all")
    assert len(train) == 10 * FRAMES
    assert len(everything) == 12 * FRAMES
    assert {frame.sequence[:2] for frame in train} == {"B2", "B3", "B4", "B5", "B6"}


def test_missing_images_are_listed(root):
    for folder in list((root / "images").iterdir()):
        folder.rename(root / folder.name)
    (root / "images").rmdir()
    (root / "B1Random" / "SK_color_0.png").unlink()
    truncate(root / "B1Counting" / "SK_color_1.png")
    stb = STB(root, "test")
    assert [frame.key for frame in stb] == ["B1Counting_SK_color_0", "B1Random_SK_color_1"]
    assert set(stb.skipped) == {str(root / "B1Random" / "SK_color_0.png"), str(root / "B1Counting" / "SK_color_1.png")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.zeros(3)}, "handPara"),
        ({"handPara": np.zeros((3, 20, 2))}, r"handPara is not .* \(3, 21, N\)"),
        (
            {"handPara": hand_para(hands_of(1)) * 100},
            r"hands measure 1\.\d*e\+04 mm .*expected millimetres",
        ),
        ({"handPara": hand_para(hands_of(1)) / 1000}, "expected millimetres"),
    ],
)
def test_bad_labels(root, content, message):
    savemat(root / "labels" / "B1Counting_SK.mat", content)
    with pytest.raises(InputError, match=rf"B1Counting_SK\.mat: .*{message}"):
        STB(root, "test")


def test_absent_labels_or_images(root):
    for file in root.glob("images/*/BB_left*"):
        file.unlink()
    with pytest.raises(InputError, match=r"no image B1Counting/BB_left_0\.png"):
        STB(root, "test", "BB_left")
    (root / "labels" / "B1Random_BB.mat").unlink()
    with pytest.raises(InputError, match=r"B1Random_BB\.mat"):
        STB(root, "test", "BB_left")
