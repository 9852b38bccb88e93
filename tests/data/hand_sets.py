"""A hand with a known camera, and checks that every reader of hands must pass."""

import numpy as np
import torch

from posebridge.data.crops import CropConfig, LabelledCrops
from posebridge.data.datasets.hand_frames import HandFrames
from posebridge.skeletons.hand import FINGERS, HAND21


def hand_mm(seed: int, centre=(0.0, 0.0, 500.0)) -> dict[str, np.ndarray]:
    """Joints by name around a point: fingers fan out from the wrist, with distances that grow along each finger."""
    rng = np.random.default_rng(seed)
    joints = {"wrist": np.add(centre, [0.0, 60, 0])}
    for column, finger in enumerate(FINGERS):
        for i in (1, 2, 3, 4):
            offset = [25 * (column - 2), -20 * i - 10 * (finger != "thumb"), 8 * i]
            joints[f"{finger}_{i}"] = joints["wrist"] + offset + rng.uniform(-3, 3, 3)
    return joints


def ordered(joints: dict[str, np.ndarray], names) -> np.ndarray:
    return np.stack([joints[name] for name in names])


def pinhole(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pinhole projection, point by point."""
    return np.array([[K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]] for x, y, z in points])


def check_hand(reader: HandFrames, index: int, expected_mm: dict[str, np.ndarray], K: np.ndarray) -> None:
    """A reader returns this hand: joints in metres by name, their pixels, the camera, a box 1.5 times as large.

    In its crop, mirrored for a left hand, pixels are the projection of joints, too.
    """
    frame, labels = reader[index], reader.labels(index)
    assert labels.valid.all()
    assert labels.visible.all()
    expected = ordered(expected_mm, HAND21.joints)
    np.testing.assert_allclose(labels.joints_m, expected / 1000, atol=1e-9)
    np.testing.assert_allclose(labels.uv_px, pinhole(expected, K), atol=1e-5)
    np.testing.assert_allclose(frame.K, K)
    low, high = labels.uv_px.min(0), labels.uv_px.max(0)
    np.testing.assert_allclose(frame.box_xyxy[2:] - frame.box_xyxy[:2], 1.5 * (high - low))
    np.testing.assert_allclose(frame.box_xyxy[2:] + frame.box_xyxy[:2], high + low)
    crop = LabelledCrops(reader, CropConfig(96, hand="annotated"))[index]
    assert bool(torch.linalg.det(crop.T_crop_file)[0] < 0) == (frame.hand == "left")
    torch.testing.assert_close(crop.camera.project(crop.joints_m), crop.uv_px, atol=2e-3, rtol=0)
