import math

import numpy as np
import pytest

from posebridge.metrics.detection import detection_score, match_image

NONE = np.zeros((0, 4))
A, B = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]


def test_the_most_confident_detection_takes_the_label():
    found = np.array([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 10.0], [21.0, 0.0, 31.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    match = match_image(found, np.array([0.9, 0.8, 0.7, 0.6]), np.array([A, B]), NONE)
    assert match.label.tolist() == [0, -1, 1, -1]  # the second one is a duplicate, though it fits better
    assert match.counted.all()


def test_detections_of_ignored_regions_do_not_count():
    found = np.array([[22.0, 2.0, 28.0, 8.0], [0.0, 0.0, 100.0, 100.0], [25.0, 0.0, 45.0, 10.0]])
    match = match_image(found, np.array([0.9, 0.8, 0.7]), NONE, np.array([B]))
    # Inside; far larger than the region; a quarter inside.
    assert match.counted.tolist() == [False, True, True]


def test_score_by_hand():
    matches = [
        match_image(np.array([A, [50.0, 50.0, 60.0, 60.0]]), np.array([0.9, 0.8]), np.array([A, B]), NONE),
        match_image(np.array([B, A]), np.array([0.7, 0.2]), np.array([B]), NONE),
    ]
    score = detection_score(matches, labels=3, least_confidence=0.5)
    assert score.recall == pytest.approx(2 / 3)
    assert score.precision == pytest.approx(2 / 3)
    # Right, wrong, right, wrong: precision 1 up to the first label, 2/3 up to the second, nothing for the third.
    assert score.average_precision == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_nothing_to_find():
    score = detection_score([match_image(NONE, np.zeros(0), NONE, NONE)], labels=0, least_confidence=0.5)
    assert math.isnan(score.recall)
    assert math.isnan(score.precision)
