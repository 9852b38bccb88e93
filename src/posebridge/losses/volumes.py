"""Losses on 3D heat maps against Gaussians that are given by their factors along the axes: one value per joint.

No target volume is computed: a Gaussian is the outer product of its factors, so volumes are contracted with them one
axis after another. A gradient takes one further volume.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import Function, once_differentiable


def volume_cross_entropy(
    logits: Float[Tensor, "B K D h w"],
    along_u: Float[Tensor, "B K w"],
    along_v: Float[Tensor, "B K h"],
    along_z: Float[Tensor, "B K D"],
    has_depth: Bool[Tensor, "B K"],
) -> Float[Tensor, "B K"]:
    """Cross-entropy of each volume's softmax against a target whose factors each sum to one, in nats.

    Of joints without depth, the softmax's marginal over the image is compared with ``along_v`` x ``along_u``. Factors
    of zeros (a joint outside the image) give zero with zero gradient.
    """
    return _CrossEntropy.apply(logits, along_v[..., :, None] * along_u[..., None, :], along_z, has_depth)


def volume_mse(
    volumes: Float[Tensor, "B K D h w"],
    along_u: Float[Tensor, "B K w"],
    along_v: Float[Tensor, "B K h"],
    along_z: Float[Tensor, "B K D"],
) -> Float[Tensor, "B K"]:
    """Mean squared error over the voxels of each volume (Eq. 5 of masked reconstruction)."""
    return _SquaredError.apply(volumes, along_v[..., :, None] * along_u[..., None, :], along_z)


class _CrossEntropy(Function):
    """sum(t) lse(l) - <t, l> for targets t = in_depth x in_image; without depth sum(t) lse(l) - <t, lse_z(l)>."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, in_image: Tensor, in_depth: Tensor, has_depth: Tensor) -> Tensor:
        by_pixel = logits.logsumexp(dim=2)
        total = by_pixel.flatten(2).logsumexp(dim=-1)
        ctx.save_for_backward(logits, by_pixel, total, in_image, in_depth, has_depth)
        expected = torch.where(has_depth[..., None, None], _along_depth(logits, in_depth), by_pixel)
        return in_image.sum(dim=(-2, -1)) * total - (in_image * expected).sum(dim=(-2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, by_pixel, total, in_image, in_depth, has_depth = ctx.saved_tensors
        grad, total, has_depth = (value[..., None, None] for value in (grad, total, has_depth))
        mass = in_image.sum(dim=(-2, -1), keepdim=True)
        # Probability of each pixel less, without depth, its target; the softmax over depth shares it among the voxels.
        pixels = grad * (mass * (by_pixel - total).exp() - torch.where(has_depth, 0, in_image))
        result = (logits - by_pixel[:, :, None]).exp_().mul_(pixels[:, :, None])
        target = grad * torch.where(has_depth, in_image, 0)
        result.addcmul_(in_depth[..., None, None], target[:, :, None], value=-1)
        return result, None, None, None


class _SquaredError(Function):
    """(<p, p> - 2 <p, t> + <t, t>) / voxels for targets t = in_depth x in_image."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, in_image: Tensor, in_depth: Tensor) -> Tensor:
        ctx.save_for_backward(volumes, in_image, in_depth)
        along = (_along_depth(volumes, in_depth) * in_image).sum(dim=(-2, -1))
        target = in_depth.square().sum(dim=-1) * in_image.square().sum(dim=(-2, -1))
        energy = torch.linalg.vector_norm(volumes.flatten(2), dim=-1).square()
        return (energy - 2 * along + target).clamp_min(0) / volumes[0, 0].numel()  # rounding can leave it below 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        volumes, in_image, in_depth = ctx.saved_tensors
        scale = 2 / volumes[0, 0].numel() * grad[..., None, None]
        result = volumes * scale[..., None]
        return result.addcmul_(in_depth[..., None, None], (scale * in_image)[:, :, None], value=-1), None, None


def _along_depth(volumes: Float[Tensor, "B K D h w"], in_depth: Float[Tensor, "B K D"]) -> Float[Tensor, "B K h w"]:
    """Volumes contracted with a factor along depth."""
    rows = in_depth.flatten(0, 1)[:, None] @ volumes.flatten(3).flatten(0, 1)
    return rows.view(*volumes.shape[:2], *volumes.shape[3:])
