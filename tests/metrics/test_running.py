import pytest
import torch

from posebridge.metrics.joints import masked_mean, pck, pck_curve
from posebridge.metrics.running import JointSums


def test_batches_add_up_to_one_pass():
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(57, 21, generator=generator) * 60
    valid = torch.rand(57, 21, generator=generator) > 0.3
    valid[:, 3] = False
    errors[~valid] = torch.nan
    thresholds = (5.0, 20.0, 50.0)
    total = JointSums.of(errors[:10], valid[:10], thresholds)
    for start in range(10, 57, 10):
        total = total + JointSums.of(errors[start : start + 10], valid[start : start + 10], thresholds)

    assert total.mean_error().item() == pytest.approx(masked_mean(errors, valid).item(), rel=1e-6)
    torch.testing.assert_close(total.mean_error_per_joint().float(), masked_mean(errors, valid, dim=0), equal_nan=True)
    torch.testing.assert_close(total.pck(), pck_curve(errors, valid, torch.tensor(thresholds)))
    torch.testing.assert_close(total.pck_per_joint()[1], pck(errors, valid, 20.0, dim=0), equal_nan=True)
    assert torch.isnan(total.mean_error_per_joint()[3])


def test_different_thresholds_do_not_add_up():
    errors, valid = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="don't add up"):
        JointSums.of(errors, valid, (1.0,)) + JointSums.of(errors, valid, (2.0,))
