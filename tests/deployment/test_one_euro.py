import math

import numpy as np
import pytest

from posebridge.deployment.one_euro import OneEuroConfig, OneEuroFilter
from posebridge.errors import InputError


def scalar_filter(values, times_s, min_cutoff, beta, derivative_cutoff):
    """Casiez et al., Algorithm 1, one number at a time."""

    def alpha(step_s, cutoff):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / step_s)

    out, x_hat, dx_hat, before = [], None, 0.0, None
    for x, t in zip(values, times_s, strict=True):
        if x_hat is None:
            x_hat = x
        else:
            step_s = t - before
            dx = (x - x_hat) / step_s
            a = alpha(step_s, derivative_cutoff)
            dx_hat = a * dx + (1 - a) * dx_hat
            a = alpha(step_s, min_cutoff + beta * abs(dx_hat))
            x_hat = a * x + (1 - a) * x_hat
        before = t
        out.append(x_hat)
    return out


def test_every_coordinate_is_filtered_as_the_paper_says():
    rng = np.random.default_rng(0)
    times_s = np.cumsum(rng.uniform(0.01, 0.1, 40))  # real timestamps are not even
    joints = np.cumsum(rng.normal(0, 5, (40, 21, 2)), axis=0)
    smooth = OneEuroFilter(OneEuroConfig(min_cutoff_hz=1.3, beta=0.05, derivative_cutoff_hz=0.8))
    filtered = np.stack([smooth(uv, t) for uv, t in zip(joints, times_s, strict=True)])
    for joint in (0, 20):
        for axis in (0, 1):
            expected = scalar_filter(joints[:, joint, axis], times_s, 1.3, 0.05, 0.8)
            np.testing.assert_allclose(filtered[:, joint, axis], expected, rtol=1e-12)


def test_less_jitter_at_rest_and_little_lag_in_motion():
    rng = np.random.default_rng(1)
    times_s = np.arange(1, 121) / 30
    rest, smooth = 100 + rng.normal(0, 1, 120), OneEuroFilter(OneEuroConfig(1.0, 0.02))
    still = np.array([smooth(np.array(x), t) for x, t in zip(rest, times_s, strict=True)])
    assert still[30:].std() < 0.5 * rest[30:].std()
    quick, smooth = 600 * times_s, OneEuroFilter(OneEuroConfig(1.0, 0.02))
    lag_px = [x - smooth(np.array(x), t) for x, t in zip(quick, times_s, strict=True)]
    # Without the speed, a cutoff of 1 Hz would lag by 600 px/s / (2 pi 1 Hz) = 95 px.
    assert lag_px[-1] < 20


def test_missing_values_are_forgotten():
    smooth = OneEuroFilter()
    smooth(np.array([1.0, 1.0]), 0.0)
    gone = smooth(np.array([np.nan, 2.0]), 0.1)
    assert np.isnan(gone[0])
    assert 1 < gone[1] < 2
    assert smooth(np.array([5.0, 2.0]), 0.2)[0] == 5.0  # starts anew, without the speed of before


@pytest.mark.parametrize("time_s", [1.0, 0.5, math.nan])
def test_times_increase(time_s):
    smooth = OneEuroFilter()
    smooth(np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="times must increase"):
        smooth(np.zeros(2), time_s)


def test_one_shape():
    smooth = OneEuroFilter()
    smooth(np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="shape"):
        smooth(np.zeros(3), 2.0)


@pytest.mark.parametrize("change", [{"min_cutoff_hz": 0.0}, {"beta": -1.0}, {"derivative_cutoff_hz": math.nan}])
def test_impossible_parameters(change):
    with pytest.raises(InputError, match="cutoffs"):
        OneEuroConfig(**change)
