"""Starts of fitting: the predicted pose and gestures, on one palm, within joint limits."""

import pytest
import roma
import torch

from posebridge.bodies.hand_articulation import HAND_ANGLE_LIMITS_DEG
from posebridge.bodies.parametric_hand import AnnyHand, HandParameters, hand_meshes
from posebridge.draw import generator_for
from posebridge.fitting.starting_hands import starting_hands
from posebridge.synthesis.hand_poses import gesture_angles

pytestmark = pytest.mark.usefixtures("one_thread")
PALM = [0, 5, 9, 13, 17]


@pytest.fixture(scope="module")
def hand() -> AnnyHand:
    return AnnyHand()


def predicted(hand: AnnyHand, deviation: float) -> HandParameters:
    g = generator_for(1, 1)
    R = roma.rotvec_to_rotmat(torch.randn(2, 3, generator=g))
    pose, shape = deviation * torch.randn(2, 22, generator=g), torch.randn(2, 8, generator=g)
    return HandParameters(pose, shape, R, torch.randn(2, 3, generator=g))


def test_gestures_take_the_place_of_the_predicted_fingers(hand):
    start, half_m = predicted(hand, 0.05), torch.tensor([0.125, 0.1])
    found = starting_hands(hand, start, ("fist", "open"), half_m)
    torch.testing.assert_close(found.pose[[0, 3]], start.pose)
    fists = found.pose[[1, 4]] + hand.relaxed_rad
    torch.testing.assert_close(fists[:, :20], gesture_angles(("fist",) * 2).stacked()[:, :20])
    torch.testing.assert_close(found.pose[[1, 4], 20:], start.pose[:, 20:])  # the forearm stays
    palms = hand_meshes(hand, found, half_m.repeat_interleave(3)).joints[:, PALM].mean(1)
    before = hand_meshes(hand, start, half_m).joints[:, PALM].mean(1)
    torch.testing.assert_close(palms, before.repeat_interleave(3, 0), atol=1e-5, rtol=0)


def test_starts_are_within_joint_limits(hand):
    found = starting_hands(hand, predicted(hand, 3.0), (), torch.tensor([0.125, 0.1]))
    low, high = torch.tensor(HAND_ANGLE_LIMITS_DEG).T
    degrees = torch.rad2deg(found.pose + hand.relaxed_rad)
    assert ((degrees > low - 1e-3) & (degrees < high + 1e-3)).all()
    assert (torch.isclose(degrees, low, atol=1e-3) | torch.isclose(degrees, high, atol=1e-3)).float().mean() > 0.3
