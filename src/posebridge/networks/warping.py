"""The warping estimator: which bone each pixel moves with, and which pixels need inpainting.

Lin et al., NeurIPS 2023, Sec. 3.3.2 and supplement A: one hourglass, a convolution for the masks of background and
bones, and another for the inpainting map.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posebridge.errors import InputError
from posebridge.networks.hourglass import Hourglass, HourglassConfig

_MIN_BONE_MAP = 1e-4  # lower bound of bone maps in the prior


@dataclass(frozen=True)
class WarpingConfig:
    """Defaults are the paper's, which uses no prior on the masks."""

    hourglass: HourglassConfig = field(default_factory=HourglassConfig)
    # Masks are initialised to the driving frame's bone maps to this power, which shortens training on small images to a
    # few hundred steps. 0: no prior.
    mask_prior: float = 0.0
    # False: masks are fixed to the prior, so they can't compensate for a different annotation of the joints.
    learnt_masks: bool = True
    background: Literal["static", "affine"] = "static"  # affine: predicted, for a moving camera

    def __post_init__(self):
        if not self.learnt_masks and not self.mask_prior > 0:
            raise InputError("fixed masks need a prior: give mask_prior above 0, or learnt_masks=True")


@dataclass(frozen=True)
class Warping:
    """Output of the estimator, on its grid."""

    masks: Float[Tensor, "B R h w"]  # background, then J bones; sum to one over R = J + 1
    inpainting: Float[Tensor, "B 1 h w"]  # C of Eq. 4: 1 where the base image shows the content, else 0
    background: Float[Tensor, "B 2 3"] | None  # affine map minus the identity, in coordinates of [-1, 1]


class WarpingEstimator(nn.Module):
    """Predicts a ``Warping`` from the base image and the bone maps of both frames."""

    def __init__(self, config: WarpingConfig, bones: int):
        super().__init__()
        self.config = config
        self.hourglass = Hourglass(config.hourglass, 3 + 2 * bones)
        features = self.hourglass.outputs
        self.masks = nn.Conv2d(features, bones + 1, 7, padding=3) if config.learnt_masks else None
        self.inpainting = nn.Conv2d(features, 1, 7, padding=3)
        self.affine = nn.Linear(features, 6) if config.background == "affine" else None
        for layer in (self.masks, self.affine):  # masks start as the prior, the background static
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
        """The warping. The base image is RGB in [0, 1] at the grid's size; bone maps are in (0, 1]."""
        features = self.hourglass(torch.cat([base - 0.5, bones_base, bones_driving], dim=1))
        if self.masks is None:
            logits = torch.zeros_like(bones_driving[:, :1]).expand(-1, bones_driving.shape[1] + 1, -1, -1)
        else:
            logits = self.masks(features)
        if self.config.mask_prior:
            # A region is as likely as the background where its bone map is 0.5.
            prior = self.config.mask_prior * (2 * bones_driving).clamp_min(_MIN_BONE_MAP).log()
            logits = torch.cat([logits[:, :1], logits[:, 1:] + prior], dim=1)
        background = None
        if self.affine is not None:
            background = self.affine(features.mean((-2, -1))).unflatten(1, (2, 3))
        return Warping(logits.softmax(1), self.inpainting(features).sigmoid(), background)
