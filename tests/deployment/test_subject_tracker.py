import numpy as np
import pytest

from posebridge.deployment.detections import Detections
from posebridge.deployment.one_euro import OneEuroConfig
from posebridge.deployment.subject_tracker import SubjectTracker, TrackerConfig
from posebridge.errors import InputError

SURE, UNSURE = np.full(4, 0.9), np.full(4, 0.01)


def found(*boxes, confidence=None, hand=None):
    count = len(boxes)
    return Detections(
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.full(count, 0.9) if confidence is None else np.array(confidence),
        ("right",) * count if hand is None else hand,
    )


def square(x, y, side=40.0):
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def joints(x, y, extent=20.0):
    """Four joints whose padded box has one and a half times their extent."""
    return np.array([[x, y]]) + extent / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def run(tracker, frames, detections, detect_always=False):
    """Numbers and boxes of each frame; ``frames`` has the joints of each track by number, or None to lose it."""
    seen = []
    for t, places in enumerate(frames):
        detected = detections[t] if tracker.needs_detections or detect_always else None
        tracks = tracker.begin_frame(detected, t / 30)
        seen.append({track.number: track for track in tracks})
        for track in tracks:
            place = places.get(track.number)
            tracker.observe(track.number, joints(*(place or (0, 0))), UNSURE if place is None else SURE)
    return seen


def test_boxes_follow_the_joints_of_the_frame_before():
    seen = run(SubjectTracker(), [{0: (52, 50)}, {0: (58, 50)}, {0: (64, 50)}], [found(square(50, 50))] * 3)
    np.testing.assert_allclose(seen[0][0].box_xyxy, square(50, 50))
    np.testing.assert_allclose(seen[1][0].box_xyxy, square(52, 50, 30))  # 1.5 times the extent of 20
    np.testing.assert_allclose(seen[2][0].box_xyxy, square(58, 50, 30))


def test_the_detector_runs_on_every_nth_frame():
    tracker, ran = SubjectTracker(TrackerConfig(detect_every=3)), []
    for t in range(7):
        ran.append(tracker.needs_detections)
        tracker.begin_frame(found(square(50, 50)) if ran[-1] else None, t / 30)
        tracker.observe(0, joints(50, 50), SURE)
    assert ran == [True, False, False, True, False, False, True]


def test_the_detector_runs_as_long_as_there_is_no_subject():
    tracker = SubjectTracker()
    for t in range(3):
        assert tracker.needs_detections
        assert tracker.begin_frame(found(), t / 30) == []


def test_a_lost_subject_is_detected_again_under_a_new_number():
    tracker = SubjectTracker()
    seen = run(tracker, [{0: (50, 50)}, {0: None}, {1: (90, 50)}], [found(square(50, 50)), None, found(square(90, 50))])
    assert [set(tracks) for tracks in seen] == [{0}, {0}, {1}]


def test_subjects_keep_their_numbers_when_detections_change_their_order():
    a, b = square(50, 50), square(150, 50)
    frames = [{0: (50, 50), 1: (150, 50)}] * 3
    seen = run(SubjectTracker(), frames, [found(a, b), found(b, a), found(b, a)], detect_always=True)
    for tracks in seen:
        assert tracks[0].box_xyxy[0] < 100 < tracks[1].box_xyxy[0]


def test_a_subject_that_no_detection_confirms_ends():
    detections = [found(square(50, 50))] + [found(square(200, 200))] * 3
    seen = run(SubjectTracker(), [{0: (50, 50), 1: (200, 200)}] * 4, detections, detect_always=True)
    assert [set(tracks) for tracks in seen] == [{0}, {0, 1}, {1}, {1}]


def test_two_tracks_of_one_subject_become_the_older_one():
    frames = [{0: (50, 50), 1: (51, 50)}, {0: (50, 50)}]
    seen = run(SubjectTracker(), frames, [found(square(50, 50), square(90, 50)), None])
    assert [set(tracks) for tracks in seen] == [{0, 1}, {0}]


def test_unsure_detections_begin_no_track_but_confirm_one():
    weak = found(square(50, 50), confidence=[0.2])
    tracker = SubjectTracker(TrackerConfig(least_detection=0.3, missed_detections=1))
    assert tracker.begin_frame(weak, 0.0) == []
    [track] = tracker.begin_frame(found(square(50, 50)), 0.1)
    tracker.observe(track.number, joints(50, 50, 28), SURE)
    assert [t.number for t in tracker.begin_frame(weak, 0.2)] == [track.number]


def test_the_hand_is_the_majority_of_its_detections():
    tracker, box = SubjectTracker(TrackerConfig(detect_every=1)), square(50, 50, 30)
    sides = []
    for t, (side, confidence) in enumerate([("left", 0.8), ("right", 0.5), ("right", 0.5)]):
        [track] = tracker.begin_frame(found(box, confidence=[confidence], hand=(side,)), t / 30)
        sides.append(track.hand)
        tracker.observe(track.number, joints(50, 50), SURE)
    assert sides == ["left", "left", "right"]


def test_most_subjects_keeps_the_most_confident():
    tracker = SubjectTracker(TrackerConfig(most_subjects=1))
    [track] = tracker.begin_frame(found(square(50, 50), square(150, 50), confidence=[0.5, 0.8]), 0.0)
    assert track.box_xyxy[0] == 130


def test_smoothed_boxes_move_less():
    frames = [{0: (50 + 4 * (-1) ** t, 50)} for t in range(30)]
    once = [found(square(50, 50))] * 30
    rough, smooth = (
        np.array([tracks[0].box_xyxy[0] for tracks in run(SubjectTracker(config), frames, once)])
        for config in (TrackerConfig(), TrackerConfig(smoothing=OneEuroConfig(1.0, 0.0)))
    )
    assert smooth[10:].std() < 0.3 * rough[10:].std()


def test_joints_that_are_not_finite_end_the_track():
    tracker = SubjectTracker()
    tracker.begin_frame(found(square(50, 50)), 0.0)
    assert not tracker.observe(0, np.full((4, 2), np.nan), SURE)
    assert tracker.needs_detections


def test_missing_detections_are_an_error():
    with pytest.raises(ValueError, match="needs_detections"):
        SubjectTracker().begin_frame(None, 0.0)


@pytest.mark.parametrize("change", [{"detect_every": 0}, {"lost_confidence": 1.5}, {"most_subjects": 0}])
def test_impossible_numbers(change):
    with pytest.raises(InputError, match="is impossible"):
        TrackerConfig(**change)
