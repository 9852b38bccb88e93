"""UniFrame's adaptive occlusion: cover a joint that the teacher predicts with high confidence."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.draw import chance, uniform
from posebridge.errors import InputError


@dataclass(frozen=True)
class OcclusionConfig:
    """Kim et al., ECCV 2022: half of the images, peaks of at least 0.9, boxes of at most 20 px in 256."""

    probability: float = 0.5
    threshold: float = 0.9  # on the teacher's confidence
    largest_side: float = 20 / 256  # of the image's height
    smallest_side: float = 10 / 256  # not in the paper; half the largest, so that every box covers something

    def __post_init__(self):
        if not 0 <= self.probability <= 1:
            raise InputError(f"occlusion probability={self.probability} isn't a probability: give a number in [0, 1]")
        if not 0 < self.smallest_side <= self.largest_side <= 0.25:
            raise InputError(
                f"occlusion sides {self.smallest_side} to {self.largest_side} are impossible: "
                "give 0 < smallest_side <= largest_side <= 0.25"
            )


def adaptive_occlusion(
    images: Float[Tensor, "B C H W"],
    uv_px: Float[Tensor, "B J 2"],
    confidence: Float[Tensor, "B J"],
    config: OcclusionConfig,
    generator: Generator,
) -> tuple[Float[Tensor, "B C H W"], Bool[Tensor, "B J"]]:
    """Images with a piece of themselves pasted over one confident joint each, and which joints it covers.

    The joint is drawn among those on the image whose ``confidence`` reaches the threshold; without one, or by the
    draw of the probability, an image stays as it is. The piece comes from at least one box away in both directions.
    ``generator`` lives on the CPU.
    """
    batch, _, height, width = images.shape
    device = images.device
    limit = uv_px.new_tensor([width - 0.5, height - 0.5])
    candidate = (confidence >= config.threshold) & ((uv_px >= -0.5) & (uv_px <= limit)).all(dim=-1)
    lot = torch.rand(confidence.shape, generator=generator).to(device)
    chosen = torch.where(candidate, lot, -1.0).argmax(dim=1)
    occluded = candidate.any(dim=1) & chance(generator, config.probability, batch).to(device)

    sides = uniform(generator, config.smallest_side, config.largest_side, batch, 2).to(device) * height
    sides = sides.round().clamp(min=1).long()  # (x, y)
    places = torch.tensor([width, height], device=device) - sides + 1  # where a box's corner may lie
    centre = uv_px[torch.arange(batch, device=device), chosen].nan_to_num(0.0)
    target = (centre - (sides - 1) / 2).round().long().clamp(min=0).minimum(places - 1)
    # On a circle of ``places`` a step of [side, places - side] lands at least one side away, whichever way round.
    step = sides + (torch.rand(batch, 2, generator=generator).to(device) * (places - 2 * sides + 1)).long()
    origin = (target + step) % places

    occluded_images = _paste(images, origin, target, sides * occluded[:, None])
    under = ((uv_px >= target[:, None] - 0.5) & (uv_px <= (target + sides)[:, None] - 0.5)).all(dim=-1)
    return occluded_images, under & occluded[:, None]


def _paste(images: Tensor, origin: Tensor, target: Tensor, sides: Tensor) -> Tensor:
    """Copy the box of each image at ``origin`` to ``target``; corners and sides (B, 2) in pixels, (x, y)."""
    offset = torch.arange(int(sides.max()), device=images.device)
    inside = (offset[:, None] < sides[:, 1, None, None]) & (offset < sides[:, 0, None, None])
    sample, dy, dx = inside.nonzero(as_tuple=True)
    pasted = images.clone()
    pasted[sample, :, target[sample, 1] + dy, target[sample, 0] + dx] = images[
        sample, :, origin[sample, 1] + dy, origin[sample, 0] + dx
    ]
    return pasted
