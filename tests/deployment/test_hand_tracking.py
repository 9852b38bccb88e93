"""Hand tracking, with a predictor that puts all joints in the middle of the nearest surface."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.depth_on_disk import depth_picture_m, hand_places
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.cube_views import CubeViews
from posebridge.data.frames import RawFrame, UnreadableFrameError
from posebridge.data.located_frames import located
from posebridge.deployment.depth_predictor import DepthHands
from posebridge.deployment.hand_tracking import HandTracker

K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
CUBE_M = 0.25


class MiddleFinder:
    """Joints at the mean of the nearest ten centimetres of surface. The depth error is given."""

    device = torch.device("cpu")
    apart_m = 0.0

    def __call__(self, batch, fused):
        assert not fused
        views = CubeViews.of(batch, CUBE_M)
        points, seen = views.points()
        points_m = views.in_cameras(points[0][:, seen[0]].T[None])[0]
        points_m = points_m[points_m[:, 2] < points_m[:, 2].min() + 0.1]
        joints_m = points_m.mean(0).expand(1, 21, 3)
        one = torch.ones(1)
        return DepthHands(joints_m, torch.ones(joints_m.shape[:2]), joints_m, joints_m, self.apart_m * one, one)


def frame_of(places, sequence="a", more=None) -> RawFrame:
    depth_m = depth_picture_m(places, K, 320, 240)
    if more is not None:
        nearer = depth_picture_m(more, K, 320, 240)
        depth_m = np.where(nearer > 0, nearer, depth_m)
    return RawFrame(None, "key", sequence, K=K, depth_m=depth_m)


def middle(places) -> np.ndarray:
    return np.mean([place for name, place in places.items() if name[-1] in "1234t" and "_m" not in name], axis=0)


@pytest.fixture
def track() -> HandTracker:
    return HandTracker(MiddleFinder(), CubeCropConfig(48, CUBE_M))


def test_tracking_keeps_the_hand_beside_a_nearer_one(track):
    far, near = hand_places((-0.08, 0.0, 0.7)), hand_places((0.2, 0.0, 0.5))
    first = track(frame_of(far))
    assert first.newly_detected
    for step in range(4):
        moved = hand_places((-0.08 + 0.02 * step, 0.01 * step, 0.7))
        found = track(frame_of(moved, more=near))
        assert not found.newly_detected
        centre_m = found.hands.joints_m[0, 0].numpy()
        assert np.linalg.norm(centre_m - middle(moved)) < 0.05
    # Without a track, the nearer one is detected.
    anew = track(frame_of(far, sequence="b", more=near))
    assert anew.newly_detected
    assert anew.hands.joints_m[0, 0, 2] < 0.6


def test_second_crop_is_centred_on_the_joints_of_the_first(track):
    places = hand_places((0.05, 0.02, 0.6))
    frame = frame_of(places)
    first = crop_cube(located(frame), track.crop)
    middle_m = track.predictor(first, fused=False).joints_m[0, 0]
    np.testing.assert_allclose(track(frame).crop.centre_m[0], middle_m, atol=1e-6)


def test_given_centres_are_kept(track):
    far, near = hand_places((-0.08, 0.0, 0.7)), hand_places((0.2, 0.0, 0.5))
    frame = replace(frame_of(far, more=near), centre_m=middle(far))
    for _ in range(2):
        found = track(frame)
        np.testing.assert_allclose(found.crop.centre_m[0], middle(far), atol=1e-6)
        assert found.newly_detected


def test_lost_hands_are_searched_again(track):
    track(frame_of(hand_places((-0.1, 0.0, 0.7))))
    jumped = track(frame_of(hand_places((0.25, 0.05, 0.5))))
    assert jumped.newly_detected
    track.predictor.apart_m = 0.03  # the detected hand no longer fits
    assert track(frame_of(hand_places((0.25, 0.05, 0.5)))).newly_detected


def test_empty_frames_end_a_track(track):
    track(frame_of(hand_places()))
    with pytest.raises(UnreadableFrameError, match="no depth at all"):
        track(RawFrame(None, "key", "a", K=K, depth_m=np.zeros((240, 320), np.float32)))
    assert track(frame_of(hand_places())).newly_detected


def test_hands_are_tracked_per_camera(track):
    left, right = hand_places((-0.15, 0.0, 0.6)), hand_places((0.15, 0.0, 0.6))
    views = [frame_of(left), RawFrame(None, "key", "a", view=1, K=K, depth_m=frame_of(right).depth_m)]
    for _ in range(2):
        found = [track(view) for view in views]
    assert [each.newly_detected for each in found] == [False, False]
    assert found[0].hands.joints_m[0, 0, 0] < 0 < found[1].hands.joints_m[0, 0, 0]


def test_nan_depth_is_missing(track):
    """Depth of ROS has NaN, and division in numpy gives float64."""
    frame = frame_of(hand_places())
    holes = np.where(frame.depth_m > 0, frame.depth_m.astype(np.float64), np.nan)
    found, expected = track.detect(replace(frame, depth_m=holes)), track.detect(frame)
    assert found.crop.depth_m.dtype == torch.float32
    assert torch.equal(found.crop.depth_m, expected.crop.depth_m)
    assert torch.equal(found.hands.joints_m, expected.hands.joints_m)
