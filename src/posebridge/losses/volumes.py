"""Losses on 3D heat maps against Gaussians that are given by their factors along the axes: one value per joint.

No target volume is computed: a Gaussian is the outer product of its factors, so volumes are contracted with them one
axis after another. A gradient takes one further volume.
"""

from collections.abc import Iterable, Iterator
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
    """sum(t) lse(l) - <t, l> for targets t = in_depth x in_image; without depth sum(t) lse(l) - <t, lse_z(l)>.

    The gradient is computed beside the value, which needs the same exponentials.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, in_image: Tensor, in_depth: Tensor, has_depth: Tensor) -> Tensor:
        gradient, losses = torch.empty_like(logits), []
        parts = zip(*map(_parts, (logits, gradient, in_image, in_depth, has_depth)), strict=True)
        for values, out, target, depth, known in _in_float(parts):
            highest, known = values.amax(dim=2), known[..., None, None]
            softmax = (values - highest[:, :, None]).exp_()  # of each pixel over depth, times its sum
            sums = softmax.sum(dim=2)
            by_pixel = highest + sums.log()
            total, mass = by_pixel.flatten(2).logsumexp(dim=-1)[..., None, None], target.sum((-2, -1), keepdim=True)
            expected = torch.where(known, _along_depth(values, depth), by_pixel)
            losses.append((mass * total - (target * expected).sum((-2, -1), keepdim=True))[..., 0, 0])
            # Probability of each pixel less, without depth, its target; shared among the voxels behind it.
            pixels = mass * (by_pixel - total).exp() - torch.where(known, 0, target)
            softmax.mul_((pixels / sums)[:, :, None])
            out.copy_(softmax.addcmul_(depth[..., None, None], torch.where(known, target, 0)[:, :, None], value=-1))
        ctx.save_for_backward(gradient)
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = ctx.saved_tensors
        return gradient * grad[..., None, None, None].to(gradient.dtype), None, None, None


class _SquaredError(Function):
    """(<p, p> - 2 <p, t> + <t, t>) / voxels for targets t = in_depth x in_image."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, in_image: Tensor, in_depth: Tensor) -> Tensor:
        ctx.save_for_backward(volumes, in_image, in_depth)
        parts = zip(*map(_parts, (volumes, in_image, in_depth)), strict=True)
        energy, along = (
            torch.cat(found)
            for found in zip(
                *(
                    (values.square().sum(dim=(2, 3, 4)), (_along_depth(values, depth) * image).sum(dim=(-2, -1)))
                    for values, image, depth in _in_float(parts)
                ),
                strict=True,
            )
        )
        target = in_depth.square().sum(dim=-1) * in_image.square().sum(dim=(-2, -1))
        return (energy - 2 * along + target).clamp_min(0) / volumes[0, 0].numel()  # rounding can leave it below 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        volumes, in_image, in_depth = ctx.saved_tensors
        scale = 2 / volumes[0, 0].numel() * grad[..., None, None]
        result = torch.empty_like(volumes)
        parts = zip(*map(_parts, (volumes, result, scale[..., None], in_depth, scale * in_image)), strict=True)
        for values, out, factor, depth, subtracted in _in_float(parts):
            out.copy_((values * factor).addcmul_(depth[..., None, None], subtracted[:, :, None], value=-1))
        return result, None, None


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    """Image by image on a CPU, whose cache holds the volumes of one; else all at once."""
    return values.split(1) if values.device.type == "cpu" else (values,)


def _in_float(parts: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """The parts, the first of each with at least 32 bits."""
    for first, *others in parts:
        yield first.to(torch.promote_types(first.dtype, torch.float32)), *others


def _along_depth(volumes: Float[Tensor, "B K D h w"], in_depth: Float[Tensor, "B K D"]) -> Float[Tensor, "B K h w"]:
    """Volumes contracted with a factor along depth."""
    return (volumes * in_depth[..., None, None]).sum(dim=2)
