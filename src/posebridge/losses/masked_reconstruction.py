"""Losses of masked reconstruction: weighted reconstruction of patches, and regularisation of attention."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def foreground_fraction(mask: Bool[Tensor, "B S S"], patch_px: int) -> Float[Tensor, "B N"]:
    """r of Eq. 2: the fraction of foreground pixels in each patch, row by row."""
    return F.avg_pool2d(mask[:, None].float(), patch_px).flatten(1)


def patch_weights(
    mask: Bool[Tensor, "B S S"], patch_px: int, beta: float, normalise: bool = False
) -> Float[Tensor, "B N"]:
    """Weights exp(beta r) of patches, r being the fraction of foreground pixels in each (Eq. 2).

    Args:
        mask: foreground pixels.
        patch_px: side of a patch.
        beta: 0 weights all patches alike.
        normalise: divide the weights of each image by their mean.
    """
    weights = (beta * foreground_fraction(mask, patch_px)).exp()
    return weights / weights.mean(1, keepdim=True) if normalise else weights


def patch_loss(
    predicted: Float[Tensor, "B N P"],
    target: Float[Tensor, "B N P"],
    weights: Float[Tensor, "B N"],
    masked: Float[Tensor, "B N"],
) -> Float[Tensor, ""]:
    """Mean over masked patches of their weight times their mean squared error (Eq. 3).

    ``masked`` is 1 for patches that the encoder did not see, of which every batch has one.
    """
    error = (predicted - target).square().mean(-1)
    return (weights * error * masked).sum() / masked.sum()


def normalised_patches(patches: Float[Tensor, "B N P"]) -> Float[Tensor, "B N P"]:
    """Each patch with mean 0 and variance 1, as an alternative target of the reconstruction (He et al., CVPR 2022)."""
    mean, deviation = _statistics(patches)
    return (patches - mean) / deviation


def denormalised_patches(predicted: Float[Tensor, "B N P"], patches: Float[Tensor, "B N P"]) -> Float[Tensor, "B N P"]:
    """Predictions of normalised patches as pixels, with the mean and variance of the true ones."""
    mean, deviation = _statistics(patches)
    return mean + deviation * predicted


def _statistics(patches: Float[Tensor, "B N P"]) -> tuple[Float[Tensor, "B N 1"], Float[Tensor, "B N 1"]]:
    return patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + 1e-6).sqrt()


def attention_distance(
    attention: Float[Tensor, "L B heads N"], reference: Float[Tensor, "L B heads N"], per_head: bool = True
) -> Float[Tensor, "B"]:
    """Squared distance between attention rows of the class token, summed over blocks and patches (Eq. 6).

    The mean over heads of their distances, or with ``per_head`` False the distance of the heads' mean rows.
    """
    if not per_head:
        attention, reference = attention.mean(2, keepdim=True), reference.mean(2, keepdim=True)
    return (attention - reference).square().sum((0, 3)).mean(-1)
