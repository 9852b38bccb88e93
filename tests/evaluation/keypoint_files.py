"""Small keypoint sets for the tests of scoring."""

from pathlib import Path

import numpy as np
import pytest

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.skeletons.hand import HAND21

ICVL = Path(__file__).resolve().parents[3] / "shared" / "data" / "depth_benchmark_icvl"
INTRINSICS = (240.99, 240.96, 160.0, 120.0)
needs_icvl = pytest.mark.skipif(not ICVL.is_dir(), reason="../shared/data is absent")


def hands(frames: int = 12, seed: int = 0, noise: float = 0.0, side: float = 256.0) -> KeypointSet:
    """The same hands for every noise: pixels in the image, and millimetres half a metre before the camera."""
    rng = np.random.default_rng(seed)
    uv = rng.uniform(0.15, 0.85, (frames, 21, 2)) * side
    xyz = rng.normal([0, 0, 500], 50, (frames, 21, 3))
    spread = np.random.default_rng(seed + 1)
    return KeypointSet(
        key=np.array([f"frame_{i:03d}" for i in range(frames)]),
        joint_names=HAND21.joints,
        uv_px=uv + spread.normal(0, 1, uv.shape) * noise,
        xyz_mm=xyz + spread.normal(0, 1, xyz.shape) * noise,
    )
