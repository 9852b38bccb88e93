"""Visible layer at each point of a body: skin, a garment, hair or a part of the face.

Cloth has no geometry. A shirt covers the body above its hem, below its neckline and up to the end of its sleeves. Each
border is a threshold on a map of ``body_surface``, so it is sharp at any resolution.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

# From the skin outwards: the last layer that covers a point is visible.
LAYERS = (
    "skin", "beard", "lips", "brow", "sock", "shoe", "sole", "bottom", "belt", "top", "badge", "coat", "hair", "sclera",
    "iris",
)  # fmt: skip
BEYOND_BODY = 9.0  # outside the range of every map: the border of a garment that is not worn
_NECK_DEPTH_M = (-0.03, 0.05)  # depths z between which a neckline changes from its back to its front height
_BADGE_HEIGHT_M = 0.36  # y of the centre of a print on the chest
_COAT_TOP_M = 0.57  # y of the upper border
_IRIS = 0.982  # threshold on the map of the eyeball


@dataclass(frozen=True)
class Cuts:
    """Borders of B outfits (or of the outfits at N points): thresholds on the maps of ``BodySurface``."""

    sleeve: Float[Tensor, "B"]  # arm
    top_hem: Float[Tensor, "B"]  # height
    neck_m: Float[Tensor, "B"]  # y of the neckline beside the neck
    neck_front_m: Float[Tensor, "B"]  # drop of the neckline at the front
    neck_back_m: Float[Tensor, "B"]  # drop at the back
    neck_width_m: Float[Tensor, "B"]  # half width
    neck_round: Float[Tensor, "B"]  # 0 is a V neck, 1 a round one
    badge_m: Float[Tensor, "B"]  # half side of a print on the chest
    waist: Float[Tensor, "B"]  # height
    bottom_hem: Float[Tensor, "B"]  # height, at the centre
    bottom_rise: Float[Tensor, "B"]  # rise of that hem to the sides, height per metre: briefs
    belt: Float[Tensor, "B"]  # height
    sock: Float[Tensor, "B"]  # height
    shoe: Float[Tensor, "B"]  # height
    sole_m: Float[Tensor, "B"]  # y
    coat_sleeve: Float[Tensor, "B"]  # arm
    coat_hem: Float[Tensor, "B"]  # height
    coat_open_m: Float[Tensor, "B"]  # half width of the opening at the hips
    coat_flare_m: Float[Tensor, "B"]  # additional half width at the neck
    hairline_m: Float[Tensor, "B"]
    long_hair_m: Float[Tensor, "B"]  # y of the lower end of long hair
    beard_m: Float[Tensor, "B"]

    def stacked(self) -> Float[Tensor, "22 B"]:
        """All cuts as rows, in the order of the fields."""
        return torch.stack([getattr(self, f.name) for f in fields(self)])


def layer_at(surface: Float[Tensor, "14 N"], cuts: Float[Tensor, "22 N"]) -> Int[Tensor, "N"]:
    """Index into ``LAYERS`` at N points.

    ``surface`` and ``cuts`` hold the columns of ``BodySurface.stacked`` and the rows of ``Cuts.stacked`` at the points.
    """
    x, y, z, arm, height, _, _, scalp, long_hair, beard, lips, brow, eye, _ = surface
    cut = Cuts(*cuts)
    side = x.abs()
    top = (y < _neckline(cut, side, z)) & (arm < cut.sleeve) & (height > cut.top_hem)
    bottom = (height < cut.waist) & (height > torch.addcmul(cut.bottom_hem, cut.bottom_rise, side))
    opened = (side < torch.addcmul(cut.coat_open_m, cut.coat_flare_m, height)) & (z > 0)
    shoe = height < cut.shoe
    areas = {
        "beard": beard > cut.beard_m,
        "lips": lips > 0,
        "brow": brow > 0,
        "sock": height < cut.sock,
        "shoe": shoe,
        "sole": shoe & (y < cut.sole_m),
        "bottom": bottom,
        "belt": bottom & (height > cut.belt),
        "top": top,
        "badge": top & (torch.maximum(side, (y - _BADGE_HEIGHT_M).abs()) < cut.badge_m) & (z > 0),
        "coat": (y < _COAT_TOP_M) & (arm < cut.coat_sleeve) & (height > cut.coat_hem) & ~opened,
        "hair": (scalp > cut.hairline_m) | ((long_hair > 0) & (y > cut.long_hair_m)),
        "sclera": eye > 0,
        "iris": eye > _IRIS,
    }
    layer = torch.zeros(x.shape, dtype=torch.long, device=x.device)
    for number, name in enumerate(LAYERS[1:], start=1):
        layer.masked_fill_(areas[name], number)
    return layer


def _neckline(cut: Cuts, side_m: Tensor, z: Tensor) -> Float[Tensor, "N"]:
    """Height y of a shirt's neckline."""
    t = (side_m / cut.neck_width_m).clamp_(max=1)
    back, front = _NECK_DEPTH_M
    fall = torch.lerp(cut.neck_back_m, cut.neck_front_m, ((z - back) / (front - back)).clamp_(0, 1))
    return cut.neck_m - fall * (1 - torch.lerp(t, t * t, cut.neck_round))
