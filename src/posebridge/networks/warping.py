"""The warping estimator: which bone each pixel moves with, and what has to be painted anew.

Lin et al., NeurIPS 2023, Sec. 3.3.2 and supplement A: one hourglass, then a convolution for the masks of background
and bones and another for the inpainting map.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.hourglass import Hourglass, HourglassConfig

_FAINT = 1e-4  # bone maps fainter than this are one to the prior


@dataclass(frozen=True)
class WarpingConfig:
    """Defaults are the paper's; it has no prior on the masks."""

    hourglass: HourglassConfig = field(default_factory=HourglassConfig)
    # How a region's mask starts: as the driving frame's bone map to this power, so that a few hundred steps are enough
    # on small images. 0: from nothing.
    mask_prior: float = 0.0
    # False: masks are the prior, and can't make up for joints that are annotated in another place.
    learnt_masks: bool = True
    background: Literal["static", "affine"] = "static"  # affine: of a camera that moves, predicted

    def __post_init__(self):
        if not self.learnt_masks and not self.mask_prior > 0:
            raise InputError("masks that learn nothing need a prior: give mask_prior above 0, or learnt_masks=True")


@dataclass(frozen=True)
class Warping:
    """What the estimator says, on its grid."""

    masks: Float[Tensor, "B R h w"]  # background and bones; sum to one over R = J + 1
    inpainting: Float[Tensor, "B 1 h w"]  # C of Eq. 4: 1 where the base image has what is needed, 0 where it has not
    background: Float[Tensor, "B 2 3"] | None  # what an affine background adds to the identity, sides from -1 to 1


class WarpingEstimator(nn.Module):
    """Base image and both poses' bone maps to ``Warping``."""

    def __init__(self, config: WarpingConfig, bones: int):
        super().__init__()
        self.config = config
        self.hourglass = Hourglass(config.hourglass, 3 + 2 * bones)
        features = self.hourglass.outputs
        self.masks = nn.Conv2d(features, bones + 1, 7, padding=3) if config.learnt_masks else None
        self.inpainting = nn.Conv2d(features, 1, 7, padding=3)
        self.affine = nn.Linear(features, 6) if config.background == "affine" else None
        for layer in (self.masks, self.affine):  # masks begin as the prior has them, the background at rest
            if layer is not None:
                nn.init.zeros_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        base: Float[Tensor, "B 3 h w"],
        bones_base: Float[Tensor, "B J h w"],
        bones_driving: Float[Tensor, "B J h w"],
    ) -> Warping:
        """Images are RGB in [0, 1] at the grid's size; bone maps are in (0, 1]."""
        features = self.hourglass(torch.cat([base - 0.5, bones_base, bones_driving], dim=1))
        if self.masks is None:
            logits = torch.zeros_like(bones_driving[:, :1]).expand(-1, bones_driving.shape[1] + 1, -1, -1)
        else:
            logits = self.masks(features)
        if self.config.mask_prior:
            # Half-way up its bone's flank a region is as likely as the background.
            prior = self.config.mask_prior * (2 * bones_driving).clamp_min(_FAINT).log()
            logits = torch.cat([logits[:, :1], logits[:, 1:] + prior], dim=1)
        background = None
        if self.affine is not None:
            background = self.affine(features.mean((-2, -1))).unflatten(1, (2, 3))
        return Warping(logits.softmax(1), self.inpainting(features).sigmoid(), background)
