"""The perceptual loss: images compared by the features of a frozen network (Johnson et al., ECCV 2016)."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Features = Callable[[Tensor], Sequence[Tensor]]  # RGB in [0, 1], (B, 3, H, W), to maps (B, C, h, w)
_EPS = 1e-6


def perceptual_l1(
    features: Features,
    image: Float[Tensor, "B 3 H W"],
    target: Float[Tensor, "B 3 H W"],
    scales: Sequence[float] = (1.0, 0.5, 0.25, 0.125),
    relative: bool = False,
) -> Float[Tensor, "B"]:
    """Perceptual loss of each sample (Lin et al., NeurIPS 2023, Eq. 9).

    It is the mean absolute difference of features, summed over layers and image scales. The target's features get no
    gradient. With ``relative``, each layer's difference is divided by the mean magnitude of the target's features over
    the batch, so that layers have similar weights.
    """
    total, target = image.new_zeros(len(image)), target.detach()
    for scale in scales:
        scaled, scaled_target = (x if scale == 1 else _downscale(x, scale) for x in (image, target))
        with torch.no_grad():
            target_layers = features(scaled_target)
        for layer, target_layer in zip(features(scaled), target_layers, strict=True):
            difference = (layer - target_layer).abs().flatten(1).mean(1)
            total = total + (difference / target_layer.abs().mean().clamp_min(_EPS) if relative else difference)
    return total


def _downscale(images: Tensor, scale: float) -> Tensor:
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
