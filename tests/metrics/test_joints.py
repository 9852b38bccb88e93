import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posebridge.geometry.alignment import align_similarity
from posebridge.metrics.joints import (
    auc,
    joint_errors,
    masked_mean,
    masked_median,
    pck,
    pck_curve,
    per_group,
    success_rate,
)


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 60, (40, 7, 3))
    prediction = truth + rng.normal(0, 12, truth.shape)
    valid = rng.uniform(size=(40, 7)) > 0.3
    valid[5] = False  # a frame without any joint
    valid[:, 6] = False  # a joint that is never there
    truth[~valid] = np.nan
    return prediction, truth, valid


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def loop_errors(sample) -> list[list[float]]:
    """Errors of the valid joints, a list a frame, by a plain loop."""
    return [
        [float(np.sqrt(((p - t) ** 2).sum())) for p, t, v in zip(*frame, strict=True) if v]
        for frame in zip(*sample, strict=True)
    ]


def test_means_and_medians_match_a_loop(sample):
    prediction, truth, valid = tensors(*sample)
    flat = [error for frame in loop_errors(sample) for error in frame]
    errors = joint_errors(prediction, truth)
    assert masked_mean(errors, valid).item() == pytest.approx(np.mean(flat))
    assert masked_median(errors, valid).item() == pytest.approx(np.median(flat))
    by_joint = masked_mean(errors, valid, dim=0)
    for j in range(6):
        at = sample[2][:, j]
        assert by_joint[j].item() == pytest.approx(np.linalg.norm(sample[0][at, j] - sample[1][at, j], axis=1).mean())
    assert torch.isnan(by_joint[6])


def test_pck_and_success_match_a_loop(sample):
    prediction, truth, valid = tensors(*sample)
    errors = joint_errors(prediction, truth)
    frames = loop_errors(sample)
    flat = [error for frame in frames for error in frame]
    for threshold in (5.0, 20.0, 30.0):
        assert pck(errors, valid, threshold).item() == pytest.approx(np.mean([e < threshold for e in flat]))
    expected = [np.mean([max(frame) < t for frame in frames if frame]) for t in (20.0, 30.0, 40.0)]
    np.testing.assert_allclose(success_rate(errors, valid, (20.0, 30.0, 40.0)), expected, rtol=1e-6)


def test_procrustes_error_matches_scipy_frame_by_frame(sample):
    prediction, truth, valid = tensors(*sample)
    residuals = []
    for p, t, v in zip(*sample, strict=True):
        if v.sum() >= 3:
            p, t = p[v] - p[v].mean(0), t[v] - t[v].mean(0)
            turned = Rotation.align_vectors(t, p)[0].apply(p)
            scale = (t * turned).sum() / np.square(p).sum()
            residuals += np.linalg.norm(scale * turned - t, axis=1).tolist()
    enough = valid & (valid.sum(1, keepdim=True) >= 3)
    errors = joint_errors(align_similarity(prediction, truth, enough), truth)
    assert masked_mean(errors, enough).item() == pytest.approx(np.mean(residuals))


def test_a_joint_on_the_threshold_is_not_below_it():
    errors, valid = torch.tensor([[0.0, 10.0, 20.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert pck(errors, valid, 10.0).item() == pytest.approx(1 / 3)
    assert success_rate(errors, valid, (20.0, 20.1)).tolist() == [0.0, 1.0]


def test_auc_of_known_curves():
    valid = torch.ones(1, 4, dtype=torch.bool)
    assert auc(torch.zeros(1, 4), valid, (0.0, 50.0)).item() == pytest.approx(1.0)
    assert auc(torch.full((1, 4), 60.0), valid, (0.0, 50.0)).item() == 0.0
    # Errors spread evenly over [0, 50] make the curve a straight line from 0 to 1.
    spread = torch.linspace(0, 50, 5001, dtype=torch.float64)[:-1].reshape(100, 50)
    full = torch.ones(100, 50, dtype=torch.bool)
    assert auc(spread, full, (0.0, 50.0)).item() == pytest.approx(0.5, abs=2e-4)
    assert auc(spread, full, (20.0, 50.0)).item() == pytest.approx(0.7, abs=2e-4)


def test_auc_is_numpys_trapezoid(sample):
    prediction, truth, valid = tensors(*sample)
    errors = joint_errors(prediction, truth)
    thresholds = torch.linspace(0, 50, 101, dtype=torch.float64)
    curve = pck_curve(errors, valid, thresholds)
    assert auc(errors, valid, (0.0, 50.0)).item() == pytest.approx(np.trapezoid(curve, thresholds) / 50, rel=1e-6)
    assert pck_curve(errors, valid, thresholds, dim=0).shape == (101, 7)
    assert (curve.diff() >= 0).all()


def test_groups_are_the_metric_on_their_columns(sample):
    prediction, truth, valid = tensors(*sample)
    errors = joint_errors(prediction, truth)
    groups = per_group(lambda e, v: pck(e, v, 20.0), errors, valid, {"front": (0, 2), "never": (6,)})
    by_hand = [e < 20 for e, v in zip(errors[:, [0, 2]].flatten(), valid[:, [0, 2]].flatten(), strict=True) if v]
    assert groups["front"].item() == pytest.approx(np.mean(by_hand))
    assert torch.isnan(groups["never"])


def test_no_valid_joint_gives_nan_and_missing_ones_are_wrong():
    errors, none = torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    for value in (masked_mean(errors, none), masked_median(errors, none), pck(errors, none, 2.0)):
        assert torch.isnan(value)
    assert torch.isnan(success_rate(errors, none, (2.0,))).all()
    missing = torch.tensor([[torch.inf, 1.0]])
    assert pck(missing, torch.ones(1, 2, dtype=torch.bool), 1e9).item() == 0.5


@pytest.mark.parametrize("dimensions", [2, 3])
def test_errors_in_any_dimension(dimensions):
    prediction = torch.zeros(1, 1, dimensions)
    truth = torch.zeros(1, 1, dimensions)
    truth[..., 0], truth[..., 1] = 3, 4
    assert joint_errors(prediction, truth).item() == 5
