"""Diagonal Gaussians: the distributions that encoders of variational autoencoders predict.

Products of experts: Wu and Goodman, NeurIPS 2018; Eq. 5.5 of Yang's dissertation, 2022.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.draw import normal


@dataclass(frozen=True)
class Gaussian:
    """B diagonal Gaussians over D dimensions."""

    mean: Float[Tensor, "B D"]
    log_variance: Float[Tensor, "B D"]

    @classmethod
    def standard(cls, like: Float[Tensor, "B D"]) -> "Gaussian":
        """The prior N(0, I), in the shape, type and device of a tensor."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: slice | Tensor) -> "Gaussian":
        """Some of the Gaussians."""
        return Gaussian(self.mean[index], self.log_variance[index])

    def spread(self, rows: Int[Tensor, "B"], count: int) -> "Gaussian":
        """The Gaussians at some rows of ``count``; the prior N(0, I) at the others."""
        return Gaussian(
            *(
                values.new_zeros(count, values.shape[1]).index_copy(0, rows, values)
                for values in (self.mean, self.log_variance)
            )
        )

    def dimensions(self, first: int, last: int) -> "Gaussian":
        """The marginal over the dimensions from ``first`` to before ``last``."""
        return Gaussian(self.mean[:, first:last], self.log_variance[:, first:last])

    @property
    def deviation(self) -> Float[Tensor, "B D"]:
        """Standard deviations."""
        return (0.5 * self.log_variance).exp()

    def sample(self, generator: torch.Generator) -> Float[Tensor, "B D"]:
        """One sample of each, with gradients to mean and variance (Kingma and Welling, ICLR 2014).

        ``generator`` lives on the CPU, so that samples are the same on every device.
        """
        return self.mean + self.deviation * normal(generator, 1.0, *self.mean.shape).to(self.mean)

    def divergence(self, other: "Gaussian | None" = None) -> Float[Tensor, "B D"]:
        """KL divergence to another Gaussian in nats, by dimension; None: to N(0, I)."""
        if other is None:
            return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)
        ratio = (self.log_variance - other.log_variance).exp()
        moved = (self.mean - other.mean).square() / other.log_variance.exp()
        return 0.5 * (moved + ratio - 1 + other.log_variance - self.log_variance)


def joined(parts: Sequence[Gaussian]) -> Gaussian:
    """Independent Gaussians as one over the dimensions of all."""
    return Gaussian(torch.cat([part.mean for part in parts], 1), torch.cat([part.log_variance for part in parts], 1))


def product_of_experts(
    experts: Sequence[Gaussian], prior: bool = False, present: Sequence[Bool[Tensor, "B"]] | None = None
) -> Gaussian:
    """The normalised product of Gaussians (Eq. 5.5).

    Precisions add, and means are weighted by them. Sums are of logarithms, so that no precision overflows.

    Args:
        experts: the Gaussians.
        prior: adds the expert N(0, I), which the text of the dissertation names and its formula leaves out.
        present: which samples each expert counts for; None: all. The others get no gradient from it.

    Raises ``ValueError`` for no expert, and for a sample without one.
    """
    if not experts:
        raise ValueError("a product needs at least one expert")
    log_precision = torch.stack([-expert.log_variance for expert in experts])
    if present is not None:
        log_precision = log_precision.masked_fill(~torch.stack([*present])[..., None], -torch.inf)
    if prior:
        standard = Gaussian.standard(experts[0].mean)
        experts = [*experts, standard]
        log_precision = torch.cat([log_precision, standard.log_variance[None]])
    elif present is not None and not torch.stack([*present]).any(dim=0).all():
        raise ValueError("a product needs at least one expert of each sample")
    weights = log_precision.softmax(dim=0)
    mean = (weights * torch.stack([expert.mean for expert in experts])).sum(dim=0)
    return Gaussian(mean, -log_precision.logsumexp(dim=0))
