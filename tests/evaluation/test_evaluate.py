from dataclasses import replace

import numpy as np
import pytest

from evaluation.keypoint_files import hands
from posebridge.errors import InputError
from posebridge.evaluation.evaluate import evaluate, frame_errors_px, select_example_frames
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR, PCK_005
from posebridge.skeletons.hand import HAND21


def test_numbers_match_a_loop_in_numpy():
    prediction, truth = hands(noise=9.0), hands()
    prediction.uv_px[3, 4] = np.nan
    truth.uv_px[5, 6] = np.nan
    truth.uv_px[7, 8] = 2.0  # within one of 64 parts of the border
    score = evaluate(prediction, truth, image_side_px=256.0)

    errors, right = {}, {}
    for i in range(12):
        for j in range(21):
            if (i, j) not in [(5, 6), (7, 8)]:
                errors[i, j] = np.linalg.norm(prediction.uv_px[i, j] - truth.uv_px[i, j])
                right[i, j] = errors[i, j] < 12.8
    assert score.n_frames == 12
    assert score.pck_005 == pytest.approx(np.mean(list(right.values())))
    assert score.mean_error_px == pytest.approx(np.nanmean(list(errors.values())))
    for j in (0, 4, 6, 8):
        assert score.per_joint_pck[j] == pytest.approx(np.mean([r for (_, k), r in right.items() if k == j]))
        assert score.per_joint_error_px[j] == pytest.approx(np.nanmean([e for (_, k), e in errors.items() if k == j]))
    tips = [HAND21.index(name) for name in HAND21.groups["Fin"]]
    assert score.per_group_pck["Fin"] == pytest.approx(np.mean([r for (_, k), r in right.items() if k in tips]))
    assert set(score.per_group_pck) == {"MCP", "PIP", "DIP", "Fin"}
    at_005 = score.pck_thresholds.index(pytest.approx(0.05))
    assert score.pck_curve[at_005] == pytest.approx(score.pck_005)
    assert score.auc == pytest.approx(np.trapezoid(score.pck_curve, score.pck_thresholds) / 0.2, rel=1e-5)


def test_space_is_scored_with_known_root_and_scale():
    truth = hands()
    smaller = replace(truth, xyz_mm=(truth.xyz_mm - truth.xyz_mm[:, :1]) * 0.01)
    score = evaluate(smaller, truth, 256.0)
    assert score.mean_error_mm == pytest.approx(0, abs=1e-6)
    assert score.pa_mean_error_mm == pytest.approx(0, abs=1e-6)
    assert score.alignment == "root-scale"
    assert evaluate(replace(truth, xyz_mm=None), truth, 256.0).mean_error_mm is None


def test_failed_frames_count_in_the_mean_and_at_no_threshold():
    """The protocol of the depth benchmarks: perfect predictions of frames in which no hand was found are failures."""
    truth = hands()
    near = replace(truth, xyz_mm=truth.xyz_mm + 3.0, uv_px=truth.uv_px + 3.0)
    scores = [evaluate(near, truth, 256.0, DEPTH_JOINT_ERROR, failed) for failed in ((), ("frame_002", "frame_007"))]
    assert [score.success_rates["20"] for score in scores] == pytest.approx([1.0, 10 / 12])
    assert [score.pck_005 for score in scores] == pytest.approx([1.0, 10 / 12])
    assert [score.mean_error_mm for score in scores] == pytest.approx([np.sqrt(27)] * 2)
    assert [score.mean_error_px for score in scores] == pytest.approx([np.sqrt(18)] * 2)


def test_groups_of_joints_that_are_absent_are_nan():
    part = hands().take(np.arange(12), np.arange(5))
    score = evaluate(part, part, 256.0, replace(PCK_005, alignment="root"))
    assert score.joint_names == HAND21.joints[:5]
    assert score.per_group_pck["Fin"] == 1.0
    only_wrist = replace(part.take(np.arange(12), np.arange(1)), xyz_mm=None)
    assert np.isnan(evaluate(only_wrist, only_wrist, 256.0).per_group_pck["Fin"])


def test_sets_without_pixels_are_refused():
    with pytest.raises(InputError, match="must hold uv_px"):
        evaluate(replace(hands(), uv_px=None), hands(), 256.0)


def test_frames_for_the_gallery():
    prediction, truth = hands(noise=4.0), hands()
    truth.uv_px[2] = np.nan
    errors = frame_errors_px(prediction, truth)
    assert "frame_002" not in errors
    assert errors["frame_004"] == pytest.approx(np.linalg.norm(prediction.uv_px[4] - truth.uv_px[4], axis=-1).mean())
    picked = select_example_frames({f"f{i:02d}": float(i) for i in range(20)}, count=3)
    assert picked[:3] == [("f00", "best"), ("f01", "best"), ("f02", "best")]
    assert [key for key, kind in picked if kind == "median"] == ["f08", "f09", "f10"]
    assert [key for key, kind in picked if kind == "worst"] == ["f17", "f18", "f19"]
    for few in range(6):
        keys = [key for key, _ in select_example_frames({str(i): float(i) for i in range(few)})]
        assert len(keys) == len(set(keys)) == min(few, 3)
