import json
import random
import re

import numpy as np
import pytest

from data.hand_sets import check_hand, hand_mm, ordered
from data.on_disk import truncate, write_image
from posebridge.data.datasets.hand3d_studio import Hand3DStudio
from posebridge.errors import InputError
from posebridge.skeletons.hand import FINGERS

ORDER = ("wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3, 4)))
K = np.array([[900.0, 0, 130], [0, 880, 120], [0, 0, 1]])
COUNT = 20


def with_phalanx(joints, millimetres):
    """The same hand, scaled so that its middle finger's first phalanx has this length."""
    scale = millimetres / np.linalg.norm(joints["middle_1"] - joints["middle_2"])
    return {name: xyz * scale for name, xyz in joints.items()}


def sample(i: int) -> dict:
    joints = ordered(hand_mm(i), ORDER)
    uv = joints @ K.T
    return {
        "name": f"part{1 + i % 2}/scene_{i % 4}/{i:04d}.jpg",
        "without_object": int(i % 5 > 0),
        "keypoint2d": (uv[:, :2] / uv[:, 2:]).tolist(),
        "keypoint3d": (joints / 37).tolist(),  # of any unit
        "intrinsic_matrix": K.tolist(),
    }


def small_set(tmp_path):
    for i in range(COUNT):
        write_image(tmp_path / sample(i)["name"], 64, 64)
    (tmp_path / "annotation.json").write_text(json.dumps([sample(i) for i in range(COUNT)]))
    return tmp_path


@pytest.fixture
def root(tmp_path):
    return small_set(tmp_path)


def test_splits_of_hands_without_objects(root):
    alone = [sample(i)["name"] for i in range(COUNT) if i % 5 > 0]
    train, test, everything = (Hand3DStudio(root, part) for part in ("train", "test", "all"))
    random.seed(42)
    shuffled = list(alone)
    random.shuffle(shuffled)
    assert {f"{frame.key}.jpg" for frame in test} == set(shuffled[: len(alone) // 5])
    assert {f"{frame.key}.jpg" for frame in train} == set(shuffled[len(alone) // 5 :])
    assert [f"{frame.key}.jpg" for frame in everything] == alone
    assert len(Hand3DStudio(root, "all", "object")) == 4
    assert len(Hand3DStudio(root, "all", "all")) == COUNT


def test_joints_are_scaled_to_the_papers_phalanx_length(root):
    reader = Hand3DStudio(root, "all", "all", hand="right")
    for i in range(COUNT):
        check_hand(reader, i, with_phalanx(hand_mm(i), 40), K)
    longer = Hand3DStudio(root, "all", "all", phalanx_m=0.05)
    np.testing.assert_allclose(longer.labels(3).joints_m, reader.labels(3).joints_m * 1.25)
    np.testing.assert_array_equal(longer.labels(3).uv_px, reader.labels(3).uv_px)
    assert longer[3].hand is None
    with pytest.raises(InputError, match="above zero"):
        Hand3DStudio(root, phalanx_m=0.0)


def test_sequences_are_folders(root):
    frames = {frame.key: frame for frame in Hand3DStudio(root, "test", "all")}
    for key, frame in frames.items():
        assert frame.sequence == key.rsplit("/", 1)[0]
        assert frame.frame == int(key[-4:]) // 4  # counted among all images of the folder, not those of the split


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("name"), "no name"),
        (lambda s: s.update(name="part9/none.jpg"), "image is missing"),
        (lambda s: s.update(keypoint2d=[[1, 2]] * 20), "keypoint2d is 20 x 2, expected 21 x 2"),
        (lambda s: s.update(keypoint3d=[[0, 0, 1]] * 21), "a point"),
        (lambda s: s.update(keypoint3d=[[1, i, -5] for i in range(21)]), "not in front of the camera"),
        (lambda s: s.update(keypoint3d=[[1, i, float("nan")] for i in range(21)]), "not finite"),
        (lambda s: s.update(intrinsic_matrix=np.diag([0, 5, 1]).tolist()), "intrinsics .* are impossible"),
    ],
)
def test_broken_samples_are_listed(root, change, reason):
    samples = [sample(i) for i in range(COUNT)]
    change(samples[3])
    (root / "annotation.json").write_text(json.dumps(samples))
    reader = Hand3DStudio(root, "all", "all")
    assert len(list(reader)) == COUNT - 1
    ((where, given),) = reader.skipped.items()
    assert where.startswith(str(root / "annotation.json"))
    assert re.search(reason, given)


def test_broken_image(root):
    truncate(root / sample(2)["name"])
    reader = Hand3DStudio(root, "all", "all")
    assert len(list(reader)) == COUNT - 1
    assert list(reader.skipped) == [str(root / sample(2)["name"])]


@pytest.mark.parametrize(
    ("text", "message"), [("{}", "expected a list of samples"), ("[1]", "expected a list"), ("[]", "no usable sample")]
)
def test_other_files_are_refused(root, text, message):
    (root / "annotation.json").write_text(text)
    with pytest.raises(InputError, match=rf"annotation\.json: {message}"):
        Hand3DStudio(root)
