"""Losses on heat maps and coordinates of joints: one value per joint, which the caller weights and reduces."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

_MIN_NORM = 1e-6  # keeps the gradient of a norm finite at zero


def heatmap_l2(predicted: Float[Tensor, "B J H W"], target: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J"]:
    """Euclidean norm of the difference of each map (Lin et al., NeurIPS 2023, Eq. 1 and 3).

    A flat map is 3.5 from a Gaussian of height 1 and sigma 2. The paper's weights need this scale: a mean of squared
    errors over pixels has gradients smaller by a factor of hundreds.
    """
    return ((predicted - target).square().sum(dim=(-2, -1)) + _MIN_NORM**2).sqrt()


def heatmap_cross_entropy(logits: Float[Tensor, "B J H W"], target: Float[Tensor, "B J H W"]) -> Float[Tensor, "B J"]:
    """Cross-entropy of each map's softmax against a target that sums to one, in nats.

    A target of zeros (a joint outside the map) gives zero with zero gradient.
    """
    return -(target.flatten(2) * logits.flatten(2).log_softmax(dim=-1)).sum(dim=-1)


def coordinate_smooth_l1(
    predicted: Float[Tensor, "B J D"], target: Float[Tensor, "B J D"], beta: float = 1.0
) -> Float[Tensor, "B J"]:
    """Smooth L1 summed over the coordinates of each joint: quadratic below ``beta`` (in their unit), linear above."""
    return F.smooth_l1_loss(predicted, target, reduction="none", beta=beta).sum(dim=-1)


def weighted_mean(values: Float[Tensor, "*shape"], weights: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
    """Weighted mean; zero if all weights are zero. ``weights`` are at least zero, or a mask.

    Values of weight zero are ignored and get no gradient. Missing labels must still be finite (zero): the gradient of a
    NaN loss is NaN for any weight. Raises ``ValueError`` for different shapes.
    """
    if values.shape != weights.shape:
        raise ValueError(f"values {tuple(values.shape)} and weights {tuple(weights.shape)} must have the same shape")
    counted = weights > 0
    weights = weights.to(values.dtype)
    total = (torch.where(counted, values, 0) * weights).sum()
    return total / weights.sum().clamp_min(torch.finfo(values.dtype).tiny)


def combine(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The weighted sum of named terms. Raises ``ValueError`` unless terms and weights have the same names."""
    if terms.keys() != weights.keys():
        unweighted, unused = sorted(terms.keys() - weights.keys()), sorted(weights.keys() - terms.keys())
        raise ValueError(
            f"terms and weights must match: terms without weight {unweighted}, weights without term {unused}"
        )
    if not terms:
        raise ValueError("no term to combine: give at least one")
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
