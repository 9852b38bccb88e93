"""A small frame reconstructor on drawn figures, an estimator whose masks are exact, and crops of a still scene."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posebridge.methods.geometric_reconstruction.frame_reconstructor import FrameReconstructor, FrameReconstructorConfig
from posebridge.networks.hourglass import HourglassConfig
from posebridge.networks.reconstruction import GeneratorConfig
from posebridge.networks.warping import Warping, WarpingConfig
from training.stick_figures import FIGURE, poses, texture

SIDE = 64
TINY = FrameReconstructorConfig(
    bone_sigma=1.0,
    warping=WarpingConfig(hourglass=HourglassConfig(blocks=2, channels=8, most_channels=32), mask_prior=2.0),
    generator=GeneratorConfig(channels=8, most_channels=32, residual_blocks=2),
)
TO_BASE = torch.eye(3)[None]


class FixedEstimator(nn.Module):
    """Exact masks: each pixel moves with the bone that is drawn there, and nothing is inpainted."""

    def __init__(self, background_level: float = math.exp(-2.5), background: Tensor | None = None):
        super().__init__()
        self.background_level = background_level
        self.background = background

    def forward(self, base: Tensor, bones_base: Tensor, bones_driving: Tensor) -> Warping:
        levels = torch.cat([torch.full_like(bones_driving[:, :1], self.background_level), bones_driving], dim=1)
        masks = F.one_hot(levels.argmax(1), levels.shape[1]).movedim(-1, 1).to(base)
        return Warping(masks, torch.ones_like(base[:, :1]), self.background)


def reconstructor(
    config: FrameReconstructorConfig = TINY, estimator: FixedEstimator | None = None, **changes
) -> FrameReconstructor:
    torch.manual_seed(0)
    made = FrameReconstructor(replace(config, **changes), FIGURE).eval()
    if estimator is not None:
        made.estimator = estimator
    return made


def figure(seed: int = 0, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """A pose and a background."""
    generator = torch.Generator().manual_seed(seed)
    return poses(1, side, generator)[0], texture(1, side, generator)


def crop_map(u: float, v: float, zoom: float = 1.0, angle: float = 0.0, mirror: bool = False) -> Tensor:
    c, s = zoom * math.cos(angle), zoom * math.sin(angle)
    side = -1.0 if mirror else 1.0
    return torch.tensor([[[side * c, s, -u if not mirror else 110.0 - u], [-side * s, c, -v], [0.0, 0.0, 1.0]]])
