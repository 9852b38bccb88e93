from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.keypoint_files import INTRINSICS, hands
from posebridge.cameras.pinhole import Camera
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.errors import InputError
from posebridge.evaluation.distances import image_distances, space_distances, space_points
from posebridge.evaluation.matching import match_keypoints
from posebridge.skeletons.hand import HAND21


def aligned_errors(prediction: KeypointSet, truth: KeypointSet, how):
    matched = match_keypoints(prediction, truth)
    points = space_points(matched)
    return space_distances(points, how, matched, "wrist", HAND21.reference_bone)


def as_uvd(keypoints: KeypointSet, intrinsics=INTRINSICS) -> KeypointSet:
    points_m = torch.from_numpy(keypoints.xyz_mm / 1000).float()
    uv = Camera.from_focal(*intrinsics, batch=len(keypoints)).project(points_m).numpy()
    uvd = np.concatenate([uv, keypoints.xyz_mm[..., 2:]], -1)
    return replace(keypoints, uv_px=None, xyz_mm=None, uvd=uvd)


@pytest.mark.parametrize("in_file", [True, False])
def test_uvd_is_unprojected_as_the_camera_does(in_file):
    prediction, truth = hands(noise=8.0), hands()
    expected = aligned_errors(prediction, truth, "none").errors
    K = np.tile(INTRINSICS, (len(truth), 1)) if in_file else None
    matched = match_keypoints(as_uvd(prediction), replace(as_uvd(truth), K=K))
    points = space_points(matched, None if in_file else INTRINSICS)
    torch.testing.assert_close(points.distances().errors, expected, rtol=1e-4, atol=1e-3)


def test_depth_of_zero_is_missing():
    truth, prediction = as_uvd(hands()), as_uvd(hands())
    truth.uvd[0, 0, 2] = 0
    prediction.uvd[1, 1, 2] = 0
    distances = space_points(match_keypoints(prediction, truth), INTRINSICS).distances()
    assert not distances.counted[0, 0]
    assert distances.errors[1, 1] == torch.inf
    assert distances.measured.sum() == 12 * 21 - 2


@pytest.mark.parametrize("intrinsics", [(0, 240, 160, 120), (240, float("nan"), 160, 120), (0.9, 1.2, 0.5, 0.5)])
def test_impossible_intrinsics(intrinsics):
    with pytest.raises(InputError, match=r"the intrinsics .* are impossible|no camera's K"):
        space_points(match_keypoints(as_uvd(hands()), as_uvd(hands())), intrinsics)


def test_uvd_alone_needs_intrinsics():
    with pytest.raises(InputError, match="give --intrinsics"):
        space_points(match_keypoints(as_uvd(hands()), as_uvd(hands())))
    both = replace(as_uvd(hands()), uv_px=hands().uv_px)
    assert space_points(match_keypoints(both, both)) is None


@pytest.mark.parametrize(
    ("how", "offset", "scale"), [("root", 90.0, 1.0), ("root-scale", -400.0, 0.01), ("similarity", 7.0, 30.0)]
)
def test_alignment_removes_its_transform_and_no_other(how, offset, scale):
    truth = hands()
    moved = replace(truth, xyz_mm=truth.xyz_mm * scale + offset)
    assert aligned_errors(moved, truth, how).errors.max() < 1e-6
    if how != "similarity":
        turned = replace(truth, xyz_mm=truth.xyz_mm @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]))
        assert aligned_errors(turned, truth, how).errors.mean() > 10
    if how == "root":
        assert aligned_errors(replace(truth, xyz_mm=truth.xyz_mm * 2), truth, how).errors.mean() > 10


def test_missing_roots_count_as_errors_of_the_prediction():
    prediction, truth = hands(noise=2.0), hands()
    prediction.xyz_mm[0, 0] = np.nan
    truth.xyz_mm[1, 9] = np.nan
    prediction.xyz_mm[2, 9] = prediction.xyz_mm[2, 0]  # a reference bone of length zero
    distances = aligned_errors(prediction, truth, "root-scale")
    assert torch.isinf(distances.errors[0]).all()
    assert distances.counted[0].all()
    assert not distances.counted[1].any()
    assert torch.isinf(distances.errors[2]).any()
    assert torch.isfinite(distances.errors[3:]).all()


def test_the_border_is_that_of_the_pixels():
    truth = hands()
    # The image covers [-0.5, 255.5]; two pixels from its border lie 1.5 and 253.5.
    for j, u in enumerate([1.4, 1.6, 253.4, 253.6, -3.0, 300.0]):
        truth.uv_px[0, j] = u, 128.0
    counted = image_distances(match_keypoints(hands(), truth), 256.0, 2.0).counted
    assert counted[0, :6].tolist() == [False, True, True, False, False, False]
    assert counted[:, 6:].all()
    assert image_distances(match_keypoints(hands(), truth)).counted.all()


def test_sets_without_pixels_have_no_image_distances():
    assert image_distances(match_keypoints(replace(hands(), uv_px=None), hands())) is None
