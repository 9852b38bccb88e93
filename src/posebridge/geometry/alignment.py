"""Procrustes alignment of point sets, fitted to the valid points, without reflections."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class SimilarityTransform:
    """The map x -> scale * R x + t of every sample of a batch."""

    scale: Float[Tensor, "B"]
    R: Float[Tensor, "B 3 3"]
    t: Float[Tensor, "B 3"]

    def apply(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """The transformed points, in the unit of the target that the transform was fitted to."""
        return self.scale[:, None, None] * points @ self.R.transpose(1, 2) + self.t[:, None]


def fit_similarity(
    source: Float[Tensor, "B N 3"],
    target: Float[Tensor, "B N 3"],
    valid: Bool[Tensor, "B N"] | None = None,
    *,
    with_scale: bool = True,
) -> SimilarityTransform:
    """The transform from ``source`` to ``target`` with the least squared error (Umeyama 1991).

    Points where ``valid`` is False are ignored and may be NaN. ``with_scale=False`` fits a rigid transform. If the
    valid points don't determine a rotation (fewer than three, collinear or coincident), the transform is the
    translation between the centroids; without a valid point it is the identity. For evaluation only: the gradient is
    undefined where singular values coincide.
    """
    if valid is None:
        valid = torch.ones(source.shape[:2], dtype=torch.bool, device=source.device)
    weight = valid[..., None].to(source.dtype)
    count = weight.sum(1).clamp_min(1)
    source, target = (torch.where(valid[..., None], points, 0) for points in (source, target))
    source_mean, target_mean = source.sum(1) / count, target.sum(1) / count
    source_centred = (source - source_mean[:, None]) * weight
    target_centred = (target - target_mean[:, None]) * weight

    # Eq. 38 to 43: SVD of the covariance; the last axis is negated if the best map would be a reflection.
    U, singular, Vh = torch.linalg.svd(target_centred.transpose(1, 2) @ source_centred)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.sign(torch.linalg.det(U) * torch.linalg.det(Vh))
    R = (U * sign[:, None]) @ Vh
    spread = source_centred.square().sum((1, 2))
    determined = singular[:, 1] > 10 * torch.finfo(source.dtype).eps * singular[:, 0]
    scale = (singular * sign).sum(1) / spread if with_scale else torch.ones_like(spread)

    scale = torch.where(determined, scale, 1)
    R = torch.where(determined[:, None, None], R, torch.eye(3, dtype=R.dtype, device=R.device))
    t = target_mean - scale[:, None] * (R @ source_mean[..., None])[..., 0]
    return SimilarityTransform(scale, R, t)


def align_similarity(
    source: Float[Tensor, "B N 3"], target: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, "B N 3"]:
    """``source`` after the fitted rotation, translation and scale; see ``fit_similarity``."""
    return fit_similarity(source, target, valid).apply(source)
