from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.depth_on_disk import assert_joints_on_the_blob, depth_picture_m, hand_places
from posebridge.data.datasets.bighand import BIGHAND_K, BigHand
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS, HAND21

ORDER = ["wrist", *(f"{f}_1" for f in FINGERS), *(f"{f}_{i}" for f in FINGERS for i in (2, 3, 4))]


def write_frame(folder: Path, name: str, seed: int) -> str:
    places = hand_places((0.01 * seed, -0.01 * seed, 0.5))
    folder.mkdir(parents=True, exist_ok=True)
    mm = np.rint(depth_picture_m(places, BIGHAND_K, 640, 480) * 1000).astype(np.uint16)
    Image.fromarray(mm).save(folder / name)
    joints = np.stack([places[joint] for joint in ORDER]) * 1000
    return "\t".join([name, *(f"{value:.4f}" for value in joints.ravel())])


def small_set(tmp_path):
    images = tmp_path / "training" / "images"
    lines = [write_frame(images, f"image_D{i:08d}.png", i) for i in (1, 2, 3)]
    (tmp_path / "training" / "Training_Annotation.txt").write_text("\n".join(lines))
    write_frame(tmp_path / "frame" / "images", "image_D00000001.png", 5)
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_joints_lie_on_the_blob(root):
    hands = BigHand(root)
    assert [frame.key for frame in hands] == [f"images/image_D{i:08d}" for i in (1, 2, 3)]
    for index in range(3):
        frame, labels = hands[index], hands.labels(index)
        assert_joints_on_the_blob(labels.uv_px, labels.joints_m, frame.depth_m)
    places = hand_places((0.03, -0.03, 0.5))
    np.testing.assert_allclose(hands.labels(2).joints_m, [places[joint] for joint in HAND21.joints], atol=1e-6)


def test_test_labels_come_from_a_given_file(root):
    hands = BigHand(root, "test")
    assert hands[0].depth_m.max() == pytest.approx(0.5, abs=0.1)
    with pytest.raises(InputError, match="no list of joints"):
        hands.labels(0)
    given = root / "released_later.txt"
    places = hand_places((0.05, -0.05, 0.5))
    joints = np.stack([places[joint] for joint in ORDER]) * 1000
    given.write_text("\t".join(["image_D00000001.png", *map(str, joints.ravel())]))
    labelled = BigHand(root, "test", annotations=given)
    assert_joints_on_the_blob(labelled.labels(0).uv_px, labelled.labels(0).joints_m, labelled[0].depth_m)
    with pytest.raises(InputError, match=r"absent\.txt: no such annotation"):
        BigHand(root, annotations=root / "absent.txt")


def test_pictures_outside_the_list(root):
    """They come last, without labels."""
    path = root / "training" / "Training_Annotation.txt"
    path.write_text(path.read_text().splitlines()[1])
    hands = BigHand(root)
    assert [frame.key for frame in hands] == [f"images/image_D{i:08d}" for i in (2, 1, 3)]
    assert [frame.frame for frame in hands] == [0, 1, 2]
    assert [bool(hands.labels(i).valid.any()) for i in range(3)] == [True, False, False]


def test_capitalised_folder_with_the_annotation_file_beside_it(root):
    (root / "training").rename(root / "Training")
    (root / "Training" / "Training_Annotation.txt").rename(root / "Training_Annotation.txt")
    assert BigHand(root).labels(1).valid.all()


def test_broken_lines_and_missing_images_are_listed(root):
    path = root / "training" / "Training_Annotation.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "image_D00000009.png\t1\t2", lines[1].replace("\t", "\tx", 1), lines[2]]))
    hands = BigHand(root)
    assert [frame.frame for frame in hands] == [0, 2, 3]
    assert [hands.labels(i).valid.any() for i in range(3)] == [True, False, True]
    assert hands.skipped[str(root / "training" / "image_D00000009.png")] == "the file is missing"
    assert {f"{path} line 2", f"{path} line 3"} <= set(hands.skipped)


def test_a_hand_of_the_wrong_unit(root):
    path = root / "training" / "Training_Annotation.txt"
    scaled = []
    for line in path.read_text().splitlines():
        name, *numbers = line.split("\t")
        scaled.append("\t".join([name, *(str(float(number) * 100) for number in numbers)]))
    path.write_text("\n".join(scaled))
    with pytest.raises(
        InputError, match=r"Training_Annotation\.txt: hands measure 2\.\d*e\+04 mm .*expected millimetres"
    ):
        BigHand(root).labels(0)


def test_an_annotation_that_is_not_text(root):
    (root / "training" / "Training_Annotation.txt").write_bytes(b"\xff\xfe\x00\x80" * 9)
    with pytest.raises(InputError, match=r"Training_Annotation\.txt: not a text file"):
        BigHand(root)


def test_absent_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="training: no such folder"):
        BigHand(tmp_path)
