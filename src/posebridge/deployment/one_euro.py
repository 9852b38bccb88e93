"""The One Euro filter: smooth at rest, quick in motion (Casiez, Roussel and Vogel, CHI 2012). Imports no torch."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from posebridge.errors import InputError


@dataclass(frozen=True)
class OneEuroConfig:
    """Parameters of the filter. Raises ``InputError`` for impossible ones."""

    min_cutoff_hz: float = 1.0  # cutoff at rest: lower removes more jitter
    beta: float = 0.02  # rise of the cutoff, Hz per unit of speed (pixels per second, say): higher removes more lag
    derivative_cutoff_hz: float = 1.0

    def __post_init__(self):
        if not (self.min_cutoff_hz > 0 and self.derivative_cutoff_hz > 0 and self.beta >= 0):
            raise InputError(f"{self}: cutoffs must be above 0 Hz, and beta 0 or more")


class OneEuroFilter:
    """Filters arrays of one shape, such as joints (J, 2), each number by itself.

    Values that are not finite are passed on and forgotten: their filter starts anew with the next finite value.
    """

    def __init__(self, config: OneEuroConfig | None = None):
        self.config = config or OneEuroConfig()
        self._time_s = -math.inf
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None

    def __call__(self, value: Float[np.ndarray, "..."], time_s: float) -> Float[np.ndarray, "..."]:
        """The filtered value at a time in seconds.

        Raises ``ValueError`` for a time that isn't after the one before, and for another shape.
        """
        value = np.asarray(value, dtype=np.float64)
        if not (math.isfinite(time_s) and time_s > self._time_s):
            raise ValueError(f"time {time_s} s after {self._time_s} s: times must increase")
        if self._value is None or self._speed is None:
            self._value, self._speed, self._time_s = value.copy(), np.zeros_like(value), time_s
            return value.copy()
        if value.shape != self._value.shape:
            raise ValueError(f"a value of shape {value.shape} after values of shape {self._value.shape}")
        step_s, self._time_s = time_s - self._time_s, time_s
        known: Bool[np.ndarray, "..."] = np.isfinite(self._value) & np.isfinite(value)
        raw_speed = np.where(known, (value - self._value) / step_s, 0.0)
        # Algorithm 1: first the speed, whose size sets the cutoff of the value.
        speed = _blend(_smoothing(step_s, self.config.derivative_cutoff_hz), raw_speed, self._speed)
        cutoff_hz = self.config.min_cutoff_hz + self.config.beta * np.abs(speed)
        filtered = _blend(_smoothing(step_s, cutoff_hz), value, self._value)
        self._speed = np.where(known, speed, 0.0)
        self._value = np.where(known, filtered, value)
        return self._value.copy()


def _smoothing(step_s: float, cutoff_hz):
    """Eq. 4 and 5: the factor alpha of an exponential filter with that cutoff."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step_s))


def _blend(alpha, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Eq. 1."""
    return alpha * new + (1 - alpha) * old
