from dataclasses import replace

import numpy as np
import pytest

from evaluation.keypoint_files import hands
from posebridge.errors import InputError
from posebridge.evaluation.matching import match_keypoints
from posebridge.skeletons.hand import HAND21


def test_frames_are_matched_by_key_in_the_order_of_the_truth():
    truth = hands().take(np.array([7, 2, 5, 1]), np.arange(21))
    prediction = hands().take(np.array([5, 9, 7, 1, 0]), np.arange(21))
    matched = match_keypoints(prediction, truth)
    assert matched.truth.key.tolist() == ["frame_007", "frame_005", "frame_001"]
    np.testing.assert_array_equal(matched.prediction.uv_px, matched.truth.uv_px)
    assert (matched.without_prediction, matched.without_truth) == (1, 2)


def test_joints_are_matched_by_name_and_alias():
    order = np.random.default_rng(0).permutation(21)
    back = {own: other for other, own in HAND21.aliases.items()}
    prediction = hands().take(np.arange(12), order)
    prediction = replace(prediction, joint_names=tuple(back.get(n, n) for n in prediction.joint_names))
    matched = match_keypoints(prediction, hands())
    assert matched.joint_names == HAND21.joints
    np.testing.assert_array_equal(matched.prediction.uv_px, hands().uv_px)
    assert matched.joint("middle_finger1") == HAND21.index("middle_1")


def test_joints_of_one_side_only_are_left_out_and_named():
    matched = match_keypoints(hands().take(np.arange(12), np.arange(5)), hands().take(np.arange(12), np.arange(1, 7)))
    assert matched.joint_names == HAND21.joints[1:5]
    assert matched.unmatched_joints == ("index_1", "index_2", "wrist")


def test_without_names_joints_go_by_position():
    nameless = replace(hands(), joint_names=None)
    assert match_keypoints(nameless, nameless).joint_names == tuple(str(j) for j in range(21))
    assert match_keypoints(nameless, hands()).joint_names == HAND21.joints


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": np.array([f"other_{i}" for i in range(12)])}, "share no key .such as 'other_0' and 'frame_000'"),
        ({"joint_names": tuple(f"x{i}" for i in range(21))}, "share no joint"),
        ({"joint_names": ("thumb1", *HAND21.joints[1:])}, "joint names repeat"),
        ({"joint_names": None, "uv_px": np.zeros((12, 16, 2)), "xyz_mm": None}, "16 joints and truth 21"),
    ],
)
def test_sets_without_common_frames_or_joints_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        match_keypoints(replace(hands(), **change), hands())
