"""What bodies look like: skin, hair and clothes of all colours, patterns and lengths."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from posebridge.draw import chance, choice, uniform
from posebridge.rendering.shade import srgb_to_linear
from posebridge.synthesis.fabrics import (
    Fabrics,
    PatternShares,
    fabric_albedo,
    plain,
    sample_cloth,
    sample_from_palette,
    stack,
    where,
    with_relief,
)
from posebridge.synthesis.garments import BEYOND_BODY, LAYERS, Cuts, layer_at
from posebridge.synthesis.skin import SkinDistribution, sample_skins

_ARM_LENGTH_M = 0.54  # shoulder to wrist
_HAIR_SRGB = (
    (0.06, 0.05, 0.05), (0.13, 0.09, 0.07), (0.27, 0.18, 0.12), (0.45, 0.29, 0.17), (0.70, 0.55, 0.36),
    (0.84, 0.73, 0.55), (0.55, 0.54, 0.53), (0.85, 0.84, 0.82),
)  # fmt: skip
_IRIS_SRGB = ((0.12, 0.08, 0.06), (0.28, 0.18, 0.10), (0.30, 0.34, 0.22), (0.30, 0.42, 0.52))
_LIPS_SRGB = (0.72, 0.28, 0.28)  # what lips tend to
_PALM = torch.tensor([0.0, 0.0, 0.0, 1.0])  # of ``Fabrics.mix``: palms show the second colour
_BRIEFS = 0.14  # shorter than this, the hem follows the groin


@dataclass(frozen=True)
class OutfitDistribution:
    """Ranges and shares of what is drawn for each body. Sleeves and legs are measured in lengths of the limb."""

    skin: SkinDistribution = field(default_factory=lambda: SkinDistribution(texture=(0.0, 0.04)))
    patterns: PatternShares = field(default_factory=PatternShares)
    saturation: tuple[float, float] = (0.15, 0.9)  # of colours outside greys, earths and denims
    sleeve: tuple[float, float] = (0.0, 1.0)  # none to the wrist
    leg: tuple[float, float] = (0.1, 1.0)  # of trousers, shorts, skirts and dresses: briefs to the ankle
    bare_share: float = 0.06  # with a bare trunk and feet, or half of them a bikini's top
    one_piece_share: float = 0.12
    coat_share: float = 0.22  # coats and jackets, open at the front
    badge_share: float = 0.15  # prints on the chest
    shoe_share: float = 0.85
    sock_share: float = 0.5
    hat_share: float = 0.1
    long_hair_share: float = 0.35
    bald_share: float = 0.06
    beard_share: float = 0.2


@dataclass(frozen=True)
class Outfit:
    """Drawn outfits of B bodies."""

    cuts: Cuts
    fabrics: Fabrics  # of shape (B, layers)

    def albedo(self, surface: Float[Tensor, "N 14"], sample: Int[Tensor, "N"]) -> Float[Tensor, "N 3"]:
        """Linear RGB of N points, given the columns of ``BodySurface.stacked`` there and which outfit each wears."""
        columns = surface.t().contiguous()
        layer = layer_at(columns, self._cut_rows.index_select(1, sample))
        rows = self._fabric_rows.index_select(1, layer.add_(sample, alpha=len(LAYERS)))
        y, arm, outward, front, palm = (columns[i] for i in (1, 3, 5, 6, 13))
        along_m = torch.where(arm > 0, _ARM_LENGTH_M * arm, y)
        return fabric_albedo(rows, columns[:3], along_m, torch.atan2(front, outward), palm)

    @cached_property
    def _cut_rows(self) -> Float[Tensor, "C B"]:
        return self.cuts.stacked()

    @cached_property
    def _fabric_rows(self) -> Float[Tensor, "C M"]:
        return self.fabrics.stacked().flatten(1)


def sample_outfits(distribution: OutfitDistribution, count: int, generator: Generator) -> Outfit:
    """Draw ``count`` outfits."""
    hatted = chance(generator, distribution.hat_share, count)
    bather = chance(generator, distribution.bare_share, count)
    one_piece = chance(generator, distribution.one_piece_share, count) & ~bather
    leg = _within(
        distribution.leg, _of_ranges(((0.86, 1.0), (0.28, 0.6), (0.0, 0.2)), (0.62, 0.32, 0.06), count, generator)
    )
    cuts = Cuts(
        **_cut_top(distribution, bather, torch.where(one_piece, -leg, torch.inf), generator),
        **_cut_bottom(distribution, bather, torch.where(one_piece, torch.inf, leg), generator),
        **_cut_coat(distribution, bather, generator),
        **_cut_hair(distribution, hatted, generator),
    )
    return Outfit(cuts, _sample_fabrics(distribution, hatted, generator))


def _cut_top(
    distribution: OutfitDistribution, bather: Bool[Tensor, "B"], dress_hem: Float[Tensor, "B"], generator: Generator
) -> dict[str, Tensor]:
    """Shirts, bikinis, and dresses and suits where the hem of one is given (finite)."""
    count = len(bather)
    sleeve = _of_ranges(((0.0, 0.0), (0.22, 0.5), (0.5, 0.9), (0.95, 1.0)), (0.14, 0.36, 0.1, 0.4), count, generator)
    hem = _of_ranges(((-0.12, 0.2), (-0.3, -0.1), (0.25, 0.4)), (0.72, 0.2, 0.08), count, generator)
    bikini = torch.where(chance(generator, 0.5, count), uniform(generator, 0.55, 0.6, count), BEYOND_BODY)
    hem = torch.where(dress_hem.isfinite(), dress_hem, torch.where(bather, bikini, hem))
    low_cut = chance(generator, 0.3, count) | bather
    depth_m = torch.where(low_cut, uniform(generator, 0.09, 0.2, count), uniform(generator, 0.0, 0.08, count))
    badge_m = uniform(generator, 0.03, 0.09, count) * chance(generator, distribution.badge_share, count)
    return {
        "sleeve": torch.where(bather, 0.0, _within(distribution.sleeve, sleeve)),
        "top_hem": hem,
        "neck_m": uniform(generator, 0.575, 0.60, count),
        "neck_front_m": depth_m,
        "neck_back_m": uniform(generator, 0.0, 0.03, count) + 0.12 * bather,
        "neck_width_m": uniform(generator, 0.07, 0.13, count),
        "neck_round": chance(generator, 0.65, count).float(),
        "badge_m": badge_m * ~bather,
    }


def _cut_bottom(
    distribution: OutfitDistribution, bather: Bool[Tensor, "B"], leg: Float[Tensor, "B"], generator: Generator
) -> dict[str, Tensor]:
    """Trousers, shorts, skirts (none where ``leg`` is infinite), socks and shoes."""
    count = len(bather)
    worn = leg.isfinite()
    waist = uniform(generator, 0.08, 0.32, count)
    rise = uniform(generator, 0.3, 1.4, count) * (leg < _BRIEFS)
    belted = chance(generator, 0.3, count)
    barefoot = bather | ~chance(generator, distribution.shoe_share, count)
    socks = chance(generator, distribution.sock_share, count) & ~bather
    sock = _of_ranges(((0.05, 0.13), (0.15, 0.45), (0.6, 1.1)), (0.6, 0.3, 0.1), count, generator)
    shoe = _of_ranges(((-0.02, 0.035), (0.06, 0.2), (0.3, 0.5)), (0.7, 0.2, 0.1), count, generator)
    soled = chance(generator, 0.6, count)
    return {
        "waist": torch.where(worn, waist, -BEYOND_BODY),
        "bottom_hem": torch.where(worn, -leg, BEYOND_BODY),
        "bottom_rise": rise,
        "belt": torch.where(belted, waist - uniform(generator, 0.04, 0.08, count), BEYOND_BODY),
        "sock": torch.where(socks, sock - 1, -BEYOND_BODY),
        "shoe": torch.where(barefoot, -BEYOND_BODY, shoe - 1),
        "sole_m": torch.where(soled, uniform(generator, -0.975, -0.96, count), -BEYOND_BODY),
    }


def _cut_coat(distribution: OutfitDistribution, bather: Bool[Tensor, "B"], generator: Generator) -> dict[str, Tensor]:
    """Coats, jackets and waistcoats, open at the front."""
    count = len(bather)
    worn = chance(generator, distribution.coat_share, count) & ~bather
    sleeve = _of_ranges(((0.95, 1.0), (0.0, 0.0)), (0.85, 0.15), count, generator)
    hem = _of_ranges(((-0.12, 0.12), (-0.6, -0.12)), (0.75, 0.25), count, generator)
    return {
        "coat_sleeve": _within(distribution.sleeve, sleeve),
        "coat_hem": torch.where(worn, hem, BEYOND_BODY),
        "coat_open_m": uniform(generator, -0.02, 0.09, count),
        "coat_flare_m": uniform(generator, 0.04, 0.09, count),
    }


def _cut_hair(distribution: OutfitDistribution, hatted: Bool[Tensor, "B"], generator: Generator) -> dict[str, Tensor]:
    """Hair, or a hat in its place, and beards."""
    count = len(hatted)
    bald = chance(generator, distribution.bald_share, count) & ~hatted
    long = chance(generator, distribution.long_hair_share, count) & ~bald & ~hatted
    bearded = chance(generator, distribution.beard_share, count) & ~long
    hairline_m = uniform(generator, -0.01, 0.02, count)
    return {
        "hairline_m": torch.where(bald, BEYOND_BODY, hairline_m),
        "long_hair_m": torch.where(long, uniform(generator, 0.40, 0.68, count), BEYOND_BODY),
        "beard_m": torch.where(bearded, uniform(generator, 0.0, 0.015, count), BEYOND_BODY),
    }


def _sample_fabrics(distribution: OutfitDistribution, hatted: Tensor, generator: Generator) -> Fabrics:
    """One material for each of ``LAYERS``."""
    count = len(hatted)
    skins = sample_skins(distribution.skin, count, generator)
    hair = sample_from_palette(_HAIR_SRGB, count, generator)

    def cloth(pattern: float, denim: float = 0.05) -> Fabrics:
        """``pattern`` scales the shares of patterned cloth."""
        return sample_cloth(distribution.patterns.scaled(pattern), distribution.saturation, denim, count, generator)

    def on_skin(colour: Tensor, low: float, high: float) -> Fabrics:
        return plain(torch.lerp(skins.base, colour, uniform(generator, low, high, count, 1)))

    strands = with_relief(plain(hair), uniform(generator, 0.03, 0.18, count, 1), (0.008, 0.05), 0.2, generator)
    skin = replace(
        plain(skins.base), second=skins.palm, mix=_PALM.expand(count, 4), threshold=torch.full((count, 1), 0.5)
    )
    sclera = srgb_to_linear(torch.tensor([0.86, 0.83, 0.80])).expand(count, 3)
    fabrics = {
        "skin": with_relief(skin, skins.texture[:, None], (0.03, 0.4), 1.0, generator),
        "beard": on_skin(hair, 0.3, 0.95),
        "lips": on_skin(srgb_to_linear(torch.tensor(_LIPS_SRGB)), 0.2, 0.8),
        "brow": on_skin(0.6 * hair, 0.4, 1.0),
        "sock": cloth(0.7),
        "shoe": cloth(0.2),
        "sole": cloth(0.0),
        "bottom": cloth(0.4, denim=0.35),
        "belt": cloth(0.0),
        "top": cloth(1.0),
        "badge": cloth(1.5),
        "coat": cloth(0.5, denim=0.15),
        "hair": where(hatted, cloth(0.5), strands),
        "sclera": plain(sclera),
        "iris": plain(sample_from_palette(_IRIS_SRGB, count, generator)),
    }
    return stack([fabrics[name] for name in LAYERS])


def _of_ranges(
    ranges: tuple[tuple[float, float], ...], weights: tuple[float, ...], count: int, generator: Generator
) -> Float[Tensor, "B"]:
    """Uniform in one of several ranges, each chosen with a share in proportion to its weight."""
    drawn = torch.stack([uniform(generator, low, high, count) for low, high in ranges])
    return drawn[choice(generator, weights, count), torch.arange(count)]


def _within(limits: tuple[float, float], share: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * share
