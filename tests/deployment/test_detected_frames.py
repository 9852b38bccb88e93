import numpy as np
import pytest

from posebridge.cameras.pixel_maps import stored_image
from posebridge.data.frames import RawFrame
from posebridge.deployment.detected_frames import DetectedBoxing, FollowedBoxing
from posebridge.deployment.detection import following
from posebridge.deployment.detections import Detections
from posebridge.deployment.subject_tracker import TrackerConfig


class WhiteSquares:
    """Detects the box of each brightness above zero; the brighter, the more confident."""

    def __init__(self):
        self.runs = 0

    def detect(self, image):
        self.runs += 1
        boxes, confidence = [], []
        for value in np.unique(image[image > 0]):
            y, x = np.nonzero(image[..., 0] == value)
            boxes.append([x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5])
            confidence.append(value / 255)
        order = np.argsort(confidence)[::-1].astype(int)
        sides = ("left",) * len(order)
        return Detections(np.array(boxes, float).reshape(-1, 4)[order], np.array(confidence, float)[order], sides)


def picture(*squares):
    image = np.zeros((60, 90, 3), np.uint8)
    for x, y, value in squares:
        image[y : y + 12, x : x + 12] = value
    return image


def video(*pictures, **fields):
    return [RawFrame(image, f"v_{t:04d}", "v", t, **fields) for t, image in enumerate(pictures)]


def joints(x, y):
    """The corners of a square of 8 px, whose padded box is that of a square of 12 px at x, y."""
    return np.array([x - 0.5 + 2, y - 0.5 + 2]) + 8.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])


def test_each_subject_of_an_image_is_a_frame():
    boxing = DetectedBoxing(WhiteSquares())
    frames = video(picture((10, 10, 100), (50, 30, 250)), picture(), picture((5, 5, 90)))
    found = list(boxing.boxed(frames))
    assert [f.key for f in found] == ["v_0000", "v_0000_subject1", "v_0002"]
    np.testing.assert_allclose(found[0].box_xyxy, [49.5, 29.5, 61.5, 41.5])
    assert found[0].hand == "left"
    assert boxing.skipped == {"v_0001": "no subject was detected"}


def test_the_most_confident_subject_alone():
    boxing = DetectedBoxing(WhiteSquares(), most_subjects=1)
    [frame] = boxing.boxed(video(picture((10, 10, 100), (50, 30, 250))))
    assert frame.key == "v_0000"
    np.testing.assert_allclose(frame.box_xyxy, [49.5, 29.5, 61.5, 41.5])


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_are_in_pixels_as_stored(turn, mirror):
    stored = stored_image(picture((50, 30, 250)), turn, mirror)
    [frame] = DetectedBoxing(WhiteSquares()).boxed(video(stored, turn=turn, mirror=mirror))
    y, x = np.nonzero(stored[..., 0])
    np.testing.assert_allclose(frame.box_xyxy, [x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5])


def followed(frames, detector, places, **config):
    """Follows frames whose joints are the squares at ``places`` by frame and track; None loses the track."""
    boxing = FollowedBoxing(detector, lambda frame: frame.frame / 30, TrackerConfig(**config))
    seen = []
    for frame in boxing.boxed(frames):
        seen.append(frame)
        place = places(frame)
        uv, sure = (joints(*place), 0.9) if place else (joints(0, 0), 0.0)
        boxing.observe(frame, uv, np.full(4, sure))
    return seen, boxing


def test_boxes_follow_joints_between_detections():
    positions = [(10 + 4 * t, 20) for t in range(6)]
    detector = WhiteSquares()
    frames = video(*(picture((x, y, 250)) for x, y in positions))
    seen, _ = followed(frames, detector, lambda frame: positions[frame.frame], detect_every=4)
    assert detector.runs == 2  # of frames 0 and 4
    assert [f.key for f in seen] == [f"v_000{t}" for t in range(6)]
    for frame, (x, y) in zip(seen[1:], positions[:-1], strict=True):
        np.testing.assert_allclose(frame.box_xyxy, [x - 0.5, y - 0.5, x + 11.5, y + 11.5])


def test_lost_subjects_are_searched_for_at_once():
    detector = WhiteSquares()
    frames = video(picture((10, 10, 250)), picture(), picture(), picture((60, 30, 250)))
    seen, boxing = followed(frames, detector, lambda frame: (10, 10) if frame.frame in (0, 3) else None)
    assert [f.key for f in seen] == ["v_0000", "v_0001", "v_0003_subject1"]
    assert boxing.skipped["v_0002"] == "no subject was detected"
    assert detector.runs == 3


def test_each_video_begins_anew():
    frames = video(picture((10, 10, 250)))
    frames.append(RawFrame(picture((60, 30, 250)), "w_0000", "w", 0))
    seen, _ = followed(frames, WhiteSquares(), lambda frame: (10, 10))
    assert [f.key for f in seen] == ["v_0000", "w_0000"]


def test_unobserved_joints_are_an_error():
    boxing = FollowedBoxing(WhiteSquares(), lambda frame: frame.frame / 30)
    with pytest.raises(ValueError, match="v_0000 were not observed"):
        list(boxing.boxed(video(*[picture((10, 10, 250))] * 2)))


@pytest.mark.parametrize(("least", "lost"), [(None, 0.15), (0.0, 0.15), (0.3, 0.3)])
def test_subjects_are_lost_below_the_least_confidence_that_is_known(least, lost):
    config = following(WhiteSquares(), lambda frame: 0.0, least, most_subjects=1).config
    assert config == TrackerConfig(lost_confidence=lost, most_subjects=1)
