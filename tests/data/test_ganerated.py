import numpy as np
import pytest

from data.hand_sets import check_hand, hand_mm, ordered, pinhole
from data.on_disk import truncate, write_image
from posebridge.data.datasets.ganerated import GANerated
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS

ORDER = ("wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3, 4)))
K = np.array([[617.173, 0, 315.453], [0, 617.173, 242.259], [0, 0, 1]])
CUT = (210.0, 130.0, 1.28)  # u, v of the crop's corner in the original image, and its scale


def write_text(path, numbers) -> None:
    path.write_text(",".join(f"{number:.6f}" for number in np.ravel(numbers)) + "\n")


def write_sample(folder, number: int, seed: int, scale: float = 1.0) -> None:
    write_image(folder / f"{number:04d}_color_composed.png", 256, 256)
    joints = ordered(hand_mm(seed), ORDER)
    write_text(folder / f"{number:04d}_joint_pos_global.txt", joints * scale)
    write_text(folder / f"{number:04d}_joint2D.txt", CUT[2] * (pinhole(joints, K) - CUT[:2]))
    write_text(folder / f"{number:04d}_crop_params.txt", CUT)
    write_text(folder / f"{number:04d}_joint_pos.txt", (joints - joints[9]) / np.linalg.norm(joints[0] - joints[9]))


def small_set(tmp_path):
    for part, folder, number, seed in (
        *(("noObject", "0001", 1, 0), ("noObject", "0001", 2, 1)),
        *(("noObject", "0002", 1, 2), ("withObject", "0001", 1, 3)),
    ):
        write_sample(tmp_path / "data" / part / folder, number, seed)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_intrinsics_include_the_crop(root):
    reader = GANerated(root)
    frames = list(reader)
    assert [frame.key for frame in frames] == [
        *("noObject_0001_0001", "noObject_0001_0002", "noObject_0002_0001", "withObject_0001_0001")
    ]
    assert [(frame.sequence, frame.frame) for frame in frames[1:3]] == [("noObject_0001", 2), ("noObject_0002", 1)]
    assert {frame.hand for frame in frames} == {"left"}
    K_cut = np.array([[1.28, 0, -1.28 * 210], [0, 1.28, -1.28 * 130], [0, 0, 1]]) @ K
    for i in range(4):
        check_hand(reader, i, {name: np.round(xyz, 6) for name, xyz in hand_mm(i).items()}, K_cut)
    assert len(GANerated(root, part="withObject")) == 1


@pytest.mark.parametrize(
    ("end", "text", "reason"),
    [
        ("joint2D.txt", "1,2,3", "expected 42 finite numbers, it has 3"),
        ("joint2D.txt", ",".join(["5"] * 42), "px away from 0002_joint2D.txt"),
        ("crop_params.txt", "210,130,0", "not above zero"),
        ("crop_params.txt", "210,130,a", "not numbers between commas"),
        ("joint_pos_global.txt", ",".join(["nan"] * 63), "finite"),
        ("joint_pos_global.txt", ",".join(["1,2,3"] * 21), "expected millimetres"),
    ],
)
def test_broken_annotations_are_skipped(root, end, text, reason):
    (root / "data" / "noObject" / "0001" / f"0002_{end}").write_text(text)
    truncate(root / "data" / "noObject" / "0002" / "0001_color_composed.png")
    reader = GANerated(root)
    assert [frame.key for frame in reader] == ["noObject_0001_0001", "withObject_0001_0001"]
    assert reason in reader.skipped[str(root / "data" / "noObject" / "0001" / "0002_color_composed.png")]


def test_wrong_units_are_refused(tmp_path):
    write_sample(tmp_path / "data" / "noObject" / "0001", 1, 0, scale=0.001)
    with pytest.raises(InputError, match=r"0001_joint_pos_global\.txt: joints measure .*they look like metres"):
        GANerated(tmp_path)
    (tmp_path / "data" / "noObject" / "0001" / "0001_joint2D.txt").unlink()
    with pytest.raises(InputError, match=r"0001_joint2D\.txt: .*without labels, open the folder of images"):
        GANerated(tmp_path)
    with pytest.raises(InputError, match=r"no image withObject/0001/0001_color_composed\.png"):
        GANerated(tmp_path, part="withObject")
