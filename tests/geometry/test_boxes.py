import numpy as np
import pytest

from posebridge.geometry.boxes import box_iou, greedy_matches, joint_box


def test_joint_box_of_a_known_extent():
    uv_px = np.array([[[10.0, 20.0], [30.0, 60.0], [20.0, 30.0]], [[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]]])
    # 20 x 40 pixels about (20, 40), times 1.5; a point is one pixel large.
    np.testing.assert_allclose(joint_box(uv_px, 1.5), [[5, 10, 35, 70], [4.25, 4.25, 5.75, 5.75]])


def test_overlap_by_hand():
    boxes = np.array([[0.0, 0.0, 4.0, 2.0], [10.0, 10.0, 10.0, 12.0]])
    others = np.array([[2.0, 1.0, 6.0, 3.0], [0.0, 0.0, 4.0, 2.0], [4.0, 0.0, 5.0, 2.0]])
    # 2 x 1 of 8 + 8 - 2; equal; only an edge in common; the empty box overlaps nothing.
    np.testing.assert_allclose(box_iou(boxes, others), [[2 / 14, 1, 0], [0, 0, 0]])


def test_overlap_without_boxes():
    assert box_iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert greedy_matches(np.zeros((0, 3)), 0.5) == []


@pytest.mark.parametrize(("least", "expected"), [(0.3, [(1, 0), (0, 1)]), (0.6, [(1, 0)]), (0.95, [])])
def test_greedy_matches(least, expected):
    # Row 0 overlaps column 0 well, but row 1 overlaps it better, so row 0 gets column 1.
    iou = np.array([[0.8, 0.5, 0.0], [0.9, 0.6, 0.1]])
    assert greedy_matches(iou, least) == expected


def test_no_overlap_is_no_match():
    assert greedy_matches(np.zeros((2, 2)), 0.0) == []
