"""Example frames for the report: their selection, and joints in the pixels of their crops."""

import math

import numpy as np
import pytest
import torch

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.in_memory import InMemoryDataset
from posebridge.evaluation.gallery import gallery
from posebridge.skeletons.hand import HAND21

NAMES = HAND21.joints
# Crops of 40 px: twice the file's scale, moved, and mirrored in the second frame.
T_CROP_FILE = torch.tensor(
    [[[2.0, 0, 5], [0, 2, -3], [0, 0, 1]], [[-2.0, 0, 70], [0, 2, 4], [0, 0, 1]], [[2.0, 0, 0], [0, 2, 0], [0, 0, 1]]]
)


def _crops() -> InMemoryDataset[UnlabelledBatch]:
    image = torch.linspace(0, 1, 3 * 3 * 40 * 40).view(3, 3, 40, 40)
    return InMemoryDataset.of_batch(UnlabelledBatch(image, ("a", "b", "c"), T_crop_file=T_CROP_FILE))


def _keypoints(offset: float = 0.0, keys=("a", "b", "c")) -> KeypointSet:
    uv = np.random.default_rng(0).uniform(0, 20, (3, 21, 2))
    rows = ["abc".index(key) for key in keys]
    return KeypointSet(np.array(keys), NAMES, uv_px=uv[rows] + offset * (1 + np.array(rows))[:, None, None])


def _by_key(frames):
    return {frame.key: frame for frame in frames}


def test_gallery_draws_joints_into_crops():
    prediction = _keypoints()
    frames = _by_key(gallery(_crops(), prediction, None))
    assert {frame.kind for frame in frames.values()} == {"sample"}
    u, v = prediction.uv_px[1].T
    np.testing.assert_allclose(frames["b"].uv_pred, np.stack([70 - 2 * u, 4 + 2 * v], axis=-1), atol=1e-5)
    assert frames["a"].image.dtype == np.uint8
    assert frames["a"].image.shape == (40, 40, 3)
    assert frames["a"].error_px is frames["a"].uv_truth is None


def test_gallery_ranks_by_the_truth_whatever_its_order():
    truth, prediction = _keypoints(), _keypoints(offset=1.0)
    order = np.random.default_rng(1).permutation(21)[:19]  # two joints are missing
    frames = gallery(_crops(), prediction, truth.take(np.array([2, 0, 1]), order))
    assert [(frame.key, frame.kind) for frame in frames] == [("a", "best"), ("b", "median"), ("c", "worst")]
    for i, frame in enumerate(frames):
        assert frame.error_px == pytest.approx((i + 1) * math.sqrt(2))
        error_px = np.linalg.norm(frame.uv_truth - frame.uv_pred, axis=-1)
        known = np.isin(np.arange(21), order)
        np.testing.assert_allclose(error_px[known], 2 * (i + 1) * math.sqrt(2), atol=1e-5)  # in pixels of the crop
        assert np.isnan(error_px[~known]).all()


def test_gallery_with_missing_or_non_finite_truth():
    shared = gallery(_crops(), _keypoints(), _keypoints(keys=("b",)))
    assert [frame.key for frame in shared] == ["b"]
    nothing = KeypointSet(np.array(["b"]), NAMES, uv_px=np.full((1, 21, 2), np.nan))
    frames = _by_key(gallery(_crops(), _keypoints(), nothing))
    assert set(frames) == {"a", "b", "c"}
    assert frames["a"].uv_truth is None
    assert np.isnan(frames["b"].uv_truth).all()


def test_gallery_of_many_frames_is_short():
    batch = UnlabelledBatch(image=torch.rand(40, 3, 8, 8), key=tuple(f"{i:02d}" for i in range(40)))
    prediction = KeypointSet(np.array(batch.key), NAMES, uv_px=np.zeros((40, 21, 2)))
    keys = [int(frame.key) for frame in gallery(InMemoryDataset.of_batch(batch), prediction, None)]
    assert len(keys) == 12
    assert len(set(np.diff(keys))) == 1  # evenly spaced
