"""The perceptual loss: images compared by the features of a frozen network (Johnson et al., ECCV 2016)."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Features = Callable[[Tensor], Sequence[Tensor]]  # RGB in [0, 1], (B, 3, H, W), to maps (B, C, h, w)
_TINY = 1e-6


def perceptual_l1(
    features: Features,
    image: Float[Tensor, "B 3 H W"],
    target: Float[Tensor, "B 3 H W"],
    scales: Sequence[float] = (1.0, 0.5, 0.25, 0.125),
    relative: bool = False,
) -> Float[Tensor, "B"]:
    """Lin et al., NeurIPS 2023, Eq. 9: mean absolute difference of features, summed over layers and scales; per sample.

    The target's features carry no gradient. With ``relative`` each layer's difference is divided by the mean size of
    the target's features over the batch, so layers of unlike magnitude weigh alike.
    """
    total, target = image.new_zeros(len(image)), target.detach()
    for scale in scales:
        shown, wanted = (pictures if scale == 1 else _smaller(pictures, scale) for pictures in (image, target))
        with torch.no_grad():
            wanted_layers = features(wanted)
        for found, layer in zip(features(shown), wanted_layers, strict=True):
            difference = (found - layer).abs().flatten(1).mean(1)
            total = total + (difference / layer.abs().mean().clamp_min(_TINY) if relative else difference)
    return total


def _smaller(images: Tensor, scale: float) -> Tensor:
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
