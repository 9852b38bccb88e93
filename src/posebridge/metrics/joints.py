"""Metrics of joint errors: pure functions of tensors, on any device and in any unit.

``errors`` is the distance (B, J) between predicted and true joints; ``valid`` marks the joints that have a truth.
Invalid joints are ignored, and a metric without any valid joint is NaN. An infinite error marks a joint that is not
predicted: it is wrong at every threshold.

``dim=None`` gives one value over all joints, ``dim=0`` one per joint; ``per_group`` gives one per group of joints.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def joint_errors(prediction: Float[Tensor, "B J D"], truth: Float[Tensor, "B J D"]) -> Float[Tensor, "B J"]:
    """End-point error of each joint (Euclidean distance), in the unit of the coordinates."""
    return torch.linalg.vector_norm(prediction - truth, dim=-1)


def masked_mean(
    values: Float[Tensor, "*shape"], valid: Bool[Tensor, "*shape"], dim: int | None = None
) -> Float[Tensor, "..."]:
    """Mean over valid entries; NaN if there is none."""
    kept = torch.where(valid, values, 0)
    if dim is None:
        return kept.sum() / valid.sum()
    return kept.sum(dim) / valid.sum(dim)


def masked_median(values: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"]) -> Float[Tensor, ""]:
    """Median over valid entries (for an even count, the mean of the middle two); NaN if there is none."""
    kept = values[valid].sort().values
    if len(kept) == 0:
        return values.new_tensor(torch.nan)
    return (kept[(len(kept) - 1) // 2] + kept[len(kept) // 2]) / 2


def pck(
    errors: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"], threshold: float, dim: int | None = None
) -> Float[Tensor, "..."]:
    """Fraction of valid joints with an error strictly below ``threshold``."""
    return masked_mean((errors < threshold).float(), valid, dim)


def pck_curve(
    errors: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"], thresholds: Float[Tensor, "T"], dim: int | None = None
) -> Float[Tensor, "T ..."]:
    """``pck`` at every threshold: (T,) over all joints, or (T, J) with ``dim=0``."""
    return torch.stack([pck(errors, valid, threshold, dim) for threshold in thresholds.tolist()])


def auc(
    errors: Float[Tensor, "B J"],
    valid: Bool[Tensor, "B J"],
    bounds: tuple[float, float],
    steps: int = 101,
    dim: int | None = None,
) -> Float[Tensor, "..."]:
    """Area under the PCK curve between two thresholds, normalised to [0, 1], by the trapezoid rule.

    An error equal to a threshold counts as correct, as in the benchmarks' code, so zero errors give 1.
    """
    thresholds = torch.linspace(*bounds, steps, dtype=torch.float64)
    fractions = [masked_mean((errors <= threshold).float(), valid, dim) for threshold in thresholds.tolist()]
    curve = torch.stack(fractions).double()
    return torch.trapezoid(curve, thresholds.to(curve.device), dim=0) / (bounds[1] - bounds[0])


def success_rate(
    errors: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"], thresholds: Sequence[float]
) -> Float[Tensor, "T"]:
    """Fraction of frames whose largest valid joint error is below each threshold (Taylor et al. 2012).

    Frames without a valid joint are ignored.
    """
    largest = torch.where(valid, errors, -torch.inf).amax(1)
    counted = valid.any(1)
    return torch.stack([masked_mean((largest < threshold).float(), counted) for threshold in thresholds])


def per_group(
    metric: Callable[[Tensor, Tensor], Tensor],
    errors: Float[Tensor, "B J"],
    valid: Bool[Tensor, "B J"],
    groups: Mapping[str, Sequence[int]],
) -> dict[str, Tensor]:
    """``metric(errors, valid)`` for each group, given as joint indices."""
    return {name: metric(errors[:, list(joints)], valid[:, list(joints)]) for name, joints in groups.items()}
