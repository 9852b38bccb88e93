from pathlib import Path

import numpy as np
import pytest

from data.depth_on_disk import assert_joints_on_the_blob, hand_places
from data.depth_releases import MSRA_ORDER, write_msra_sequence
from data.on_disk import truncate
from posebridge.data.datasets.msra import MSRA, read_joint_file
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS, HAND21

JOINT_FILE = (
    Path(__file__).resolve().parents[3] / "shared/data/depth_benchmark_icvl/text_format/msra14_one_subject_joint.txt"
)


def small_set(tmp_path):
    for subject, gesture, frames in ((0, "1", 3), (0, "TIP", 2), (2, "Y", 1)):
        write_msra_sequence(tmp_path / f"P{subject}" / gesture, frames)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_joints_lie_on_the_blob(root):
    msra = MSRA(root)
    assert [frame.key for frame in msra] == [
        *("P0/1/000000", "P0/1/000001", "P0/1/000002", "P0/TIP/000000", "P0/TIP/000001", "P2/Y/000000")
    ]
    for index in (2, 4, 5):
        frame, labels = msra[index], msra.labels(index)
        assert frame.depth_m.shape == (240, 320)
        assert frame.image is None
        assert_joints_on_the_blob(labels.uv_px, labels.joints_m, frame.depth_m)
    places = hand_places((0.004, 0.002, 0.35))
    np.testing.assert_allclose(msra.labels(2).joints_m, [places[joint] for joint in HAND21.joints], atol=1e-6)


def test_test_subject(root):
    assert {frame.sequence for frame in MSRA(root, "test", test_subject=0)} == {"P0/1", "P0/TIP"}
    assert {frame.sequence for frame in MSRA(root, "train", test_subject=0)} == {"P2/Y"}
    for split, subject in (("train", None), ("all", 3), ("test", 9)):
        with pytest.raises(InputError, match="need a subject, 0 to 8"):
            MSRA(root, split, subject)


def test_centres_of_a_file_have_y_up_and_z_ahead(root):
    file = root / "centres.txt"
    file.write_text("1 2 350\n" * 3)
    with pytest.raises(InputError, match="3 lines for 1 frames"):
        MSRA(root, "train", 0, centres=file)
    file.write_text("1 2 350\n")
    np.testing.assert_allclose(MSRA(root, "train", 0, centres=file)[0].centre_m, [0.001, -0.002, 0.35])


def test_unlabelled_use_needs_no_annotation(root):
    (root / "P0" / "1" / "joint.txt").unlink()
    msra = MSRA(root)
    assert len(list(msra)) == 6
    with pytest.raises(InputError, match=r"P0/1/joint\.txt: No such file"):
        msra.labels(0)


def test_broken_files_are_listed(root):
    folder = root / "P0" / "1"
    content = (folder / "000000_depth.bin").read_bytes()
    truncate(folder / "000000_depth.bin")
    (folder / "000001_depth.bin").unlink()
    truncate(root / "P0" / "TIP" / "000000_depth.bin", 10 / len(content))
    (root / "P0" / "TIP" / "000001_depth.bin").write_bytes(b"\xff" * 100)
    msra = MSRA(root)
    assert [frame.key for frame in msra] == ["P0/1/000002", "P2/Y/000000"]
    reasons = [msra.skipped[file] for file in sorted(msra.skipped)]
    assert [next(w for w in ("cut off, perhaps", "missing", "header", "not a depth") if w in r) for r in reasons] == [
        *("cut off, perhaps", "missing", "header", "not a depth")
    ]
    np.testing.assert_array_equal(msra.labels(1).valid, True)  # 000002 keeps the third line


def test_negative_depth_is_missing(root):
    file = root / "P2" / "Y" / "000000_depth.bin"
    content = bytearray(file.read_bytes())
    content[24:28] = np.array([-300], "<f4").tobytes()
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"none of 1 images .*negative"):
        list(MSRA(root, "test", test_subject=2))


def test_a_short_joint_file_is_listed(root):
    path = root / "P0" / "1" / "joint.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:100]]))
    msra = MSRA(root)
    assert [msra.labels(i).valid.any() for i in range(3)] == [True, False, False]
    assert msra.skipped[str(path)] == "its first line counts 3 frames, and it has 2"
    assert "not 63 numbers" in msra.skipped[f"{path} line 2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line is not the number of frames"),
        ("1.5 2 3\n", "first line is not the number of frames"),
        ("2\n1 2 3\n4 5\n", "no line holds 63 numbers"),
    ],
)
def test_bad_annotations(root, text, message):
    (root / "P0" / "1" / "joint.txt").write_text(text)
    with pytest.raises(InputError, match=rf"joint\.txt: .*{message}"):
        MSRA(root).labels(0)


def test_a_hand_of_the_wrong_unit(tmp_path):
    write_msra_sequence(tmp_path / "P0" / "1", 2, scale=100)
    with pytest.raises(InputError, match=r"joint\.txt: hands measure 2\.\d*e\+04 mm .*expected millimetres"):
        MSRA(tmp_path).labels(0)


def test_absent_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="give the release's root"):
        MSRA(tmp_path)


def test_a_published_joint_file():
    if not JOINT_FILE.is_file():
        pytest.skip("../shared/data is absent")
    skipped = {}
    joints_m = read_joint_file(JOINT_FILE, skipped)
    assert (len(joints_m), skipped) == (400, {})
    by_name = {name: joints_m[:, i] for i, name in enumerate(MSRA_ORDER)}
    assert (joints_m[..., 2] > 0.1).all()

    def length(start: str, end: str) -> float:
        return float(np.linalg.norm(by_name[end] - by_name[start], axis=1).mean())

    # The middle finger is longest, the little finger shortest, and bones get shorter towards the tip.
    fingers = {f: sum(length(f"{f}_{i}", f"{f}_{i + 1}") for i in (1, 2, 3)) for f in FINGERS[1:]}
    assert max(fingers, key=fingers.get) == "middle"
    assert min(fingers, key=fingers.get) == "pinky"
    assert all(length(f"{f}_1", f"{f}_2") > length(f"{f}_3", f"{f}_4") for f in FINGERS)
    assert length("wrist", "thumb_1") < 0.5 * length("wrist", "middle_1")
