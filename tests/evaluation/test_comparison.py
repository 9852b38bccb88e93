from dataclasses import replace

import numpy as np
import pytest

from evaluation.keypoint_files import hands
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.reference_frames import ReferenceFrame, reference_frame
from posebridge.errors import InputError
from posebridge.evaluation.protocols import ScoreOptions
from posebridge.evaluation.score import score_files
from posebridge.evaluation.score_table import score_table
from posebridge.skeletons.body import H36M17

ROOT_SCALE = {"align": "root-scale"}


def scored(folder, prediction, truth, **options):
    prediction.save(folder / "predictions.npz")
    truth.save(folder / "labels.npz")
    return score_files(folder / "predictions.npz", folder / "labels.npz", ScoreOptions(**options))


def in_unit(keypoints: KeypointSet, unit_mm: float) -> KeypointSet:
    return replace(keypoints, xyz_mm=keypoints.xyz_mm / unit_mm)


def relative(keypoints: KeypointSet, joint: int = 0) -> KeypointSet:
    return replace(keypoints, xyz_mm=keypoints.xyz_mm - keypoints.xyz_mm[:, [joint]])


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("options", [{}, {"align": "root-scale", "root_joint": "0", "reference_bone": ("0", "9")}])
def test_truth_in_metres(tmp_path, names, options):
    truth, prediction = (in_unit(keypoints, 1000) for keypoints in (hands(), hands(noise=5.0)))
    if not names:
        truth, prediction = (replace(keypoints, joint_names=None) for keypoints in (truth, prediction))
    with pytest.raises(InputError, match=r"labels.npz: joints in space measure 0.\d+ mm.*like metres: multiply"):
        scored(tmp_path, prediction, truth, **options)


def test_depth_in_metres(tmp_path):
    uv_d = np.concatenate([hands().uv_px, hands().xyz_mm[..., 2:] / 1000], -1)
    truth = replace(hands(), xyz_mm=None, uv_px=None, uvd=uv_d, K=np.tile([480.0, 480, 128, 128], (12, 1)))
    with pytest.raises(InputError, match="they look like metres"):
        scored(tmp_path, truth, truth)
    truth.save(tmp_path / "labels.npz")
    with pytest.raises(InputError, match="they look like metres"):
        KeypointSet.load_labels(tmp_path / "labels.npz")


def test_predictions_in_another_unit(tmp_path):
    truth, prediction = hands(), hands(noise=5.0)
    with pytest.raises(InputError, match=r"predictions measure 0\.\d+ mm.*convert xyz_mm to millimetres"):
        scored(tmp_path, in_unit(prediction, 1000), truth)
    expected = scored(tmp_path, prediction, truth, **ROOT_SCALE)
    without_unit = scored(tmp_path, in_unit(prediction, 1000), truth, **ROOT_SCALE)
    assert without_unit.mean_joint_error_mm == pytest.approx(expected.mean_joint_error_mm)
    (note,) = scored(tmp_path, in_unit(prediction, 10), truth).notes
    assert "check that xyz_mm is in millimetres" in note


def test_a_poor_or_random_model_is_scored(tmp_path):
    random, flat = hands(seed=7), hands()
    flat.xyz_mm[:] = 0.3 * flat.xyz_mm + 0.7 * flat.xyz_mm.mean(1, keepdims=True) + [0, 0, 90]
    for prediction in (random, flat):
        scores = scored(tmp_path, prediction, hands())
        errors = np.linalg.norm(prediction.xyz_mm - hands().xyz_mm, axis=-1)
        assert scores.mean_joint_error_mm == pytest.approx(errors.mean())


@pytest.mark.parametrize("joint", [0, 9])
def test_relative_predictions_are_aligned_and_the_image_comes_first(tmp_path, joint):
    truth, prediction = hands(), relative(hands(noise=5.0), joint)
    scores = scored(tmp_path, prediction, truth, image_size=256.0)
    gap = prediction.xyz_mm - (truth.xyz_mm - truth.xyz_mm[:, [joint]])
    assert scores.mean_joint_error_mm == pytest.approx(np.linalg.norm(gap, axis=-1).mean())
    assert scores.align == "root"
    name = truth.joint_names[joint]
    assert scores.frames_of_reference.predictions == f"relative to the joint {name}"
    assert scores.frames_of_reference.truth == "in the camera's frame"
    table = score_table(scores)
    assert f"note: aligned at {name}" in table
    assert table.index("mean error in the image") < table.index("mean joint error")
    with pytest.raises(InputError, match="give --align root or root-scale"):
        scored(tmp_path, prediction, truth, align="none")


def test_roots_that_differ_are_aligned(tmp_path):
    scores = scored(tmp_path, relative(hands(), 0), relative(hands(), 9))
    assert scores.align == "root"
    assert scores.mean_joint_error_mm == pytest.approx(0, abs=1e-9)
    assert scored(tmp_path, relative(hands(), 9), relative(hands(), 9)).notes == ()


def test_people_are_aligned_at_their_pelvis(tmp_path):
    rng = np.random.default_rng(0)
    xyz_mm = rng.normal([0, 0, 4000], 400, (5, 17, 3))
    truth = KeypointSet(np.arange(5), H36M17.joints, xyz_mm=xyz_mm)
    scores = scored(tmp_path, relative(truth), truth)
    assert scores.mean_joint_error_mm == pytest.approx(0, abs=1e-9)
    assert scores.frames_of_reference.predictions == "relative to the joint pelvis"
    centred = replace(truth, xyz_mm=xyz_mm - xyz_mm.mean(1, keepdims=True))
    with pytest.raises(InputError, match="give --root-joint, one of pelvis"):
        scored(tmp_path, centred, truth)
    assert scored(tmp_path, centred, truth, root_joint="pelvis").mean_joint_error_mm == pytest.approx(0, abs=1e-9)


def test_truth_behind_the_camera(tmp_path):
    behind = replace(hands(), xyz_mm=hands().xyz_mm * [1, -1, -1])
    for align in (None, "none", "root", "root-scale"):
        with pytest.raises(InputError, match="convert them to one camera's frame"):
            scored(tmp_path, hands(), behind, align=align)
    assert scored(tmp_path, hands(), behind, align="similarity").mean_joint_error_mm == pytest.approx(0, abs=1e-6)
    assert scored(tmp_path, behind, behind).mean_joint_error_mm == 0


def test_frames_are_seen_with_missing_joints():
    xyz_mm = hands().xyz_mm
    xyz_mm[np.random.default_rng(2).random(xyz_mm.shape[:2]) < 0.4] = np.nan
    assert reference_frame(xyz_mm) == ReferenceFrame("camera")
    assert reference_frame(relative(replace(hands(), xyz_mm=xyz_mm), 3).xyz_mm) == ReferenceFrame("joint", 3)
    saved_as_zero = hands().xyz_mm
    saved_as_zero[:, 4] = 0
    assert reference_frame(saved_as_zero) == ReferenceFrame("camera")
    assert reference_frame(np.zeros((3, 21, 3))) is None
