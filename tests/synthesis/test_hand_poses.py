"""Sampled hand poses: within limits, coupled, distributed as given, and deterministic."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from posebridge.bodies.hand_articulation import (
    FINGER_LIMITS_DEG,
    THUMB_LIMITS_DEG,
    WRIST_LIMITS_DEG,
    HandAngles,
    clamp_to_limits,
)
from posebridge.synthesis.hand_poses import GESTURES, PoseDistribution, gesture_angles, sample_hand_poses


def _sample(count: int = 10_000, seed: int = 0, **changes) -> HandAngles:
    return sample_hand_poses(PoseDistribution(**changes), count, torch.Generator().manual_seed(seed))


def _degrees(angles: torch.Tensor) -> np.ndarray:
    return torch.rad2deg(angles).numpy()


def test_sampled_hands_are_within_limits() -> None:
    hands = _sample()
    for values, limits in (
        (hands.fingers, FINGER_LIMITS_DEG),
        (hands.thumb, THUMB_LIMITS_DEG),
        (hands.wrist, WRIST_LIMITS_DEG),
    ):
        low, high = np.array(limits).T
        degrees = _degrees(values)
        assert np.isfinite(degrees).all()
        assert (degrees >= low - 1e-3).all()
        assert (degrees <= high + 1e-3).all()
        span = degrees.reshape(-1, len(limits))
        assert (span.max(0) - span.min(0) > 0.6 * (high - low)).all()  # and span most of the range


def test_clamped_angles_are_within_limits() -> None:
    far = HandAngles(torch.full((1, 4, 4), 9.0), torch.full((1, 4), -9.0), torch.full((1, 2), 9.0))
    clamped = clamp_to_limits(far)
    # 92 degrees of flexion leave a tenth (the least) of the 20 degrees of spread.
    np.testing.assert_allclose(_degrees(clamped.fingers)[0, 0], [92.0, 2.0, 110.0, 80.0], atol=1e-3)
    np.testing.assert_allclose(_degrees(clamped.thumb)[0], [low for low, _ in THUMB_LIMITS_DEG], atol=1e-3)
    np.testing.assert_allclose(_degrees(clamped.wrist)[0], [high for _, high in WRIST_LIMITS_DEG], atol=1e-3)


def test_gestures_match_their_names() -> None:
    assert {"fist", "open", "point", "pinch", "ok", "thumbs_up", "victory", "three", "four"} <= set(GESTURES)
    hands = gesture_angles(GESTURES)
    pip = dict(zip(GESTURES, _degrees(hands.fingers[..., 2]), strict=True))
    folded = {name: tuple(values > 60) for name, values in pip.items()}
    assert folded["fist"] == folded["thumbs_up"] == (True,) * 4
    assert folded["open"] == folded["four"] == (False,) * 4
    assert folded["point"] == (False, True, True, True)
    assert folded["victory"] == (False, False, True, True)
    assert folded["three"] == (False, False, False, True)
    ip = dict(zip(GESTURES, _degrees(hands.thumb[:, 3]), strict=True))
    assert ip["thumbs_up"] < 5 < 30 < ip["fist"]


def test_gestures_are_within_limits() -> None:
    hands = gesture_angles(GESTURES)
    clamped = clamp_to_limits(hands)
    torch.testing.assert_close(clamped.fingers[..., [0, 2, 3]], hands.fingers[..., [0, 2, 3]])
    torch.testing.assert_close(clamped.thumb, hands.thumb)


def test_joints_and_neighbouring_fingers_are_coupled() -> None:
    degrees = _degrees(_sample(random_share=1.0).fingers)
    for f in range(4):
        assert spearmanr(degrees[:, f, 2], degrees[:, f, 3]).statistic > 0.8
    for f in range(3):
        near = spearmanr(degrees[:, f, 2], degrees[:, f + 1, 2]).statistic
        assert 0.3 < near < 0.95
    flexed = degrees[..., 0] > 70
    assert np.abs(degrees[..., 1])[flexed].max() < 0.31 * 20  # flexed knuckles have little spread


def test_samples_depend_on_the_generator_state_only() -> None:
    first, again, other = _sample(50, seed=3), _sample(50, seed=3), _sample(50, seed=4)
    for field in fields(HandAngles):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
        assert not torch.equal(getattr(first, field.name), getattr(other, field.name))
    torch.manual_seed(1)  # the global generator has no effect
    assert torch.equal(_sample(50, seed=3).fingers, first.fingers)


@pytest.mark.parametrize("shares", [{"fist": 1.0}, {"fist": 3.0, "open": 1.0}])
def test_gesture_frequencies_match_their_weights(shares: dict[str, float]) -> None:
    hands = _sample(4000, gesture_weights=shares, random_share=0.0, blend=0.0, noise_deg=1.0)
    closed = (_degrees(hands.fingers[..., 2]) > 60).all(1)
    opened = (_degrees(hands.fingers[..., 2]) < 30).all(1)
    assert (closed | opened).all()
    assert closed.mean() == pytest.approx(shares["fist"] / sum(shares.values()), abs=0.03)


def test_without_noise_a_gesture_is_itself() -> None:
    quiet = {"random_share": 0.0, "blend": 0.0, "noise_deg": 0.0, "wrist_deg": (0.0, 0.0)}
    hands = _sample(5, gesture_weights={"victory": 1.0}, **quiet)
    expected = clamp_to_limits(gesture_angles(("victory",)))
    torch.testing.assert_close(hands.fingers, expected.fingers.expand(5, 4, 4))
    torch.testing.assert_close(hands.thumb, expected.thumb.expand(5, 4))
    assert not hands.wrist.any()
