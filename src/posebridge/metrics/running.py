"""Metrics of a set that doesn't fit in one batch: sums that add up to what one pass would give."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class JointSums:
    """Sums of joint errors over any number of batches; two of them add up, over batches or over processes."""

    thresholds: tuple[float, ...]  # in the unit of the errors
    count: Int[Tensor, "J"]  # valid joints
    error: Float[Tensor, "J"]  # sum of their errors
    below: Int[Tensor, "T J"]  # how many of them are strictly below each threshold

    @classmethod
    def of(cls, errors: Float[Tensor, "B J"], valid: Bool[Tensor, "B J"], thresholds: Sequence[float]) -> "JointSums":
        """The sums of one batch."""
        below = torch.stack([((errors < threshold) & valid).sum(0) for threshold in thresholds])
        return cls(tuple(thresholds), valid.sum(0), torch.where(valid, errors, 0).double().sum(0), below)

    def __add__(self, other: "JointSums") -> "JointSums":
        if self.thresholds != other.thresholds:
            raise ValueError(f"sums at thresholds {self.thresholds} and {other.thresholds} don't add up")
        return JointSums(self.thresholds, self.count + other.count, self.error + other.error, self.below + other.below)

    def mean_error(self) -> Float[Tensor, ""]:
        """Mean error over all valid joints; NaN without any."""
        return self.error.sum() / self.count.sum()

    def mean_error_per_joint(self) -> Float[Tensor, "J"]:
        """Mean error of each joint; NaN where it was never valid."""
        return self.error / self.count

    def pck(self) -> Float[Tensor, "T"]:
        """Share of valid joints below each threshold; NaN without any."""
        return self.below.sum(1) / self.count.sum()

    def pck_per_joint(self) -> Float[Tensor, "T J"]:
        """Share of each joint's valid instances below each threshold; NaN where it was never valid."""
        return self.below / self.count
