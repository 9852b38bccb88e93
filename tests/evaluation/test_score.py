import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.keypoint_files import ICVL, INTRINSICS, hands, needs_icvl
from posebridge.errors import InputError
from posebridge.evaluation.protocols import ScoreOptions
from posebridge.evaluation.score import score_files
from posebridge.evaluation.score_table import score_table


def scored(folder, prediction, truth, **options):
    prediction.save(folder / "predictions.npz")
    truth.save(folder / "labels.npz")
    return score_files(folder / "predictions.npz", folder / "labels.npz", ScoreOptions(**options))


@needs_icvl
@pytest.mark.parametrize(("method", "published_mm"), [("deepmodel", 11.561), ("poseren", 6.791)])
def test_published_errors_on_icvl(method, published_mm):
    scores = score_files(ICVL / f"{method}.npz", ICVL / "truth.npz", ScoreOptions(intrinsics=INTRINSICS))
    assert scores.mean_joint_error_mm == pytest.approx(published_mm, abs=0.001)
    assert scores.frames == 1596
    assert list(scores.success_rate_max) == ["20", "40", "80"]

    # A second implementation of the rest, straight from the files.
    fx, fy, cx, cy = INTRINSICS
    pred, true = (np.load(ICVL / f"{name}.npz")["uvd"].astype(np.float64) for name in (method, "truth"))
    space = [
        np.stack([(u - cx) * d / fx, (v - cy) * d / fy, d], -1)
        for u, v, d in (np.moveaxis(uvd, -1, 0) for uvd in (pred, true))
    ]
    errors = np.linalg.norm(space[0] - space[1], axis=-1)
    assert scores.median_joint_error_mm == pytest.approx(np.median(errors))
    assert scores.pck["20"] == pytest.approx((errors < 20).mean(), rel=1e-6)
    assert scores.success_rate_max["40"] == pytest.approx((errors.max(1) < 40).mean(), rel=1e-6)
    assert scores.per_joint["5"]["mean_joint_error_mm"] == pytest.approx(errors[:, 5].mean())
    assert scores.pa_mean_joint_error_mm < scores.mean_joint_error_mm


def test_json_has_the_documented_keys(tmp_path):
    numbers = scored(tmp_path, hands(noise=5.0), hands(), image_size=256.0, auc_mm=(20.0, 50.0)).to_json()
    assert {
        "mean_joint_error_mm",
        "median_joint_error_mm",
        "pa_mean_joint_error_mm",
        "auc",
        "pck",
        "success_rate_max",
        "per_joint",
        "mean_error_px",
    } <= set(numbers)
    assert (numbers["auc"]["from_mm"], numbers["auc"]["to_mm"]) == (20.0, 50.0)
    assert list(numbers["pck"]) == ["10", "20", "30", "40", "50", "0.05", "0.1", "0.2"]
    assert set(numbers["per_joint"]["wrist"]) == {"mean_joint_error_mm", "mean_error_px", "pck"}
    json.dumps(numbers, allow_nan=False)


def test_pixels_alone(tmp_path):
    prediction, truth = replace(hands(noise=5.0), xyz_mm=None), replace(hands(), xyz_mm=None)
    scores = scored(tmp_path, prediction, truth, image_size=256.0, pck_fraction=(0.02,))
    errors = np.linalg.norm(prediction.uv_px - truth.uv_px, axis=-1)
    assert scores.mean_error_px == pytest.approx(errors.mean())
    assert scores.pck == {"0.02": pytest.approx((errors < 5.12).mean(), rel=1e-6)}
    assert "mean_joint_error_mm" not in scores.to_json()
    assert "auc" not in scores.to_json()
    assert scored(tmp_path, prediction, truth).pck == {}
    assert "give --image-size" in score_table(scored(tmp_path, prediction, truth))


def test_missing_joints_are_wrong_and_reported(tmp_path):
    prediction = replace(hands(), xyz_mm=None)
    prediction.uv_px[0] = np.nan
    scores = scored(tmp_path, prediction, replace(hands(), xyz_mm=None), image_size=256.0)
    assert scores.mean_error_px == 0
    assert scores.pck["0.05"] == pytest.approx(11 / 12)
    assert scores.joints_without_prediction == 21
    assert "21 joints were not predicted" in score_table(scores)


def test_missing_frames_are_counted_and_reported(tmp_path):
    scores = scored(tmp_path, hands().take(np.arange(9), np.arange(20)), hands())
    assert (scores.frames, scores.frames_without_prediction, scores.frames_without_truth) == (9, 3, 0)
    table = score_table(scores)
    assert "3 frames of the truth have no prediction and are NOT in the scores" in table
    assert "ignored joints that only one file has: pinky_4" in table


def test_means_over_nothing_are_null(tmp_path):
    truth = replace(hands(), xyz_mm=None)
    truth.uv_px[:, 3] = np.nan
    numbers = scored(tmp_path, replace(hands(), xyz_mm=None), truth).to_json()
    assert numbers["per_joint"]["thumb_3"]["mean_error_px"] is None
    assert numbers["mean_error_px"] == 0


def test_table_shows_every_joint(tmp_path):
    table = score_table(scored(tmp_path, hands(noise=5.0), hands(), image_size=256.0))
    lines = table.splitlines()
    assert len(lines[-21:]) == 21
    assert lines[-1].startswith("pinky_4")
    assert len({len(line) for line in lines[-22:]}) == 1


def test_root_by_number_where_joints_have_no_names(tmp_path):
    truth = replace(hands(), joint_names=None)
    moved = replace(truth, xyz_mm=truth.xyz_mm + 300)
    assert scored(tmp_path, moved, truth, align="root", root_joint="0").mean_joint_error_mm < 1e-6
    with pytest.raises(InputError, match="no joint 'wrist' in both files"):
        scored(tmp_path, moved, truth, align="root")


def test_files_of_different_kinds(tmp_path):
    with pytest.raises(InputError, match="no kind of joints in common"):
        scored(tmp_path, replace(hands(), xyz_mm=None), replace(hands(), uv_px=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pck_fraction": (5.0,)}, "--pck-fraction 5 is out of range"),
        ({"pck_mm": (0.05,)}, "fractions go to --pck-fraction"),
        ({"auc_mm": (50.0, 20.0)}, "--auc-mm 50 20 is no range"),
        ({"image_size": 0.0}, "--image-size 0 is impossible"),
        ({"skip_border": 4.0}, "give --image-size"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(InputError, match=message):
        ScoreOptions(**options)
