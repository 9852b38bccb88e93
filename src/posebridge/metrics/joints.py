"""How far predicted joints lie from the truth: pure functions of tensors, on any device, in any unit.

Everywhere ``errors`` is the distance of every joint, (B, J), and ``valid`` says which joints have a truth. A joint
that isn't valid never enters a number, and a number over no valid joint at all is NaN. An error of infinity stands
for a joint that should have been predicted and wasn't: it is wrong at every threshold.

``dim=None`` gives one number over all joints, ``dim=0`` one a joint; ``per_group`` gives one a group of joints.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def joint_errors(prediction: Float[Tensor, "B J D"], truth: Float[Tensor, "B J D"]) -> Float[Tensor, "B J"]:
    """Euclidean distance of every joint (end-point error), in the unit of the coordinates."""
    return torch.linalg.vector_norm(prediction - truth, dim=-1)


def masked_mean(
    values: Float[Tensor, "*shape"], valid: Bool[Tensor, "*shape"], dim: int | None = None
) -> Float[Tensor, "..."]:
    """Mean over the valid entries; NaN where there is none."""
    kept = torch.where(valid, values, 0)
    if dim is None:
        return kept.sum() / valid.sum()
    return kept.sum(dim) / valid.sum(dim)


def masked_median(values: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"]) -> Float[Tensor, ""]:
    """Median over the valid entries, the mean of the two middle ones for an even count; NaN where there is none."""
    kept = values[valid].sort().values
    if len(kept) == 0:
        return values.new_tensor(torch.nan)
    return (kept[(len(kept) - 1) // 2] + kept[len(kept) // 2]) / 2


def pck(
    errors: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"], threshold: float, dim: int | None = None
) -> Float[Tensor, "..."]:
    """Share of valid joints with an error strictly below ``threshold``, in [0, 1]."""
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
    """Area under the PCK curve between two thresholds, by the trapezoid rule, divided by their distance: in [0, 1].

    A joint exactly on a threshold is right here, as in the benchmarks' own code, so that no error at all gives 1.
    """
    thresholds = torch.linspace(*bounds, steps, dtype=torch.float64)
    shares = [masked_mean((errors <= threshold).float(), valid, dim) for threshold in thresholds.tolist()]
    curve = torch.stack(shares).double()
    return torch.trapezoid(curve, thresholds.to(curve.device), dim=0) / (bounds[1] - bounds[0])


def success_rate(
    errors: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"], thresholds: Sequence[float]
) -> Float[Tensor, "T"]:
    """Share of frames whose largest valid joint error is below each threshold (Taylor et al. 2012), in [0, 1].

    Frames without a valid joint don't count.
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
    """``metric(errors, valid)`` on the joints of each group, by the indices of its joints."""
    return {name: metric(errors[:, list(joints)], valid[:, list(joints)]) for name, joints in groups.items()}
