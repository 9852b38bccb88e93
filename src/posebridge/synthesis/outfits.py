"""Appearance of bodies: skin, hair and clothes of all colours, patterns and lengths."""

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
_LIPS_SRGB = (0.72, 0.28, 0.28)  # lips are blended towards this colour
_PALM = torch.tensor([0.0, 0.0, 0.0, 1.0])  # weights ``Fabrics.mix`` of skin: palms show the second colour
_BRIEFS = 0.14  # below this leg length, the hem rises to the sides


@dataclass(frozen=True)
class OutfitDistribution:
    """Distribution of outfits. Sleeve and leg lengths are fractions of the limb; shares are fractions of bodies."""

    skin: SkinDistribution = field(default_factory=lambda: SkinDistribution(texture=(0.0, 0.04)))
    patterns: PatternShares = field(default_factory=PatternShares)
    saturation: tuple[float, float] = (0.15, 0.9)  # of colours other than greys, earths and denims
    sleeve: tuple[float, float] = (0.0, 1.0)  # 0 is sleeveless, 1 reaches the wrist
    leg: tuple[float, float] = (0.1, 1.0)  # of trousers, shorts, skirts and dresses; 1 reaches the ankle
    bare_share: float = 0.06  # swimwear: bare trunk and feet; half of them with a bikini top
    one_piece_share: float = 0.12  # dresses and suits
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
    """Sampled outfits of B bodies."""

    cuts: Cuts
    fabrics: Fabrics  # of shape (B, layers)

    def albedo(self, surface: Float[Tensor, "N 14"], sample: Int[Tensor, "N"]) -> Float[Tensor, "N 3"]:
        """Albedo of N points in linear RGB.

        ``surface`` holds the columns of ``BodySurface.stacked`` at the points, ``sample`` each point's index in [0, B).
        """
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
    """Sample ``count`` outfits."""
    has_hat = chance(generator, distribution.hat_share, count)
    has_swimwear = chance(generator, distribution.bare_share, count)
    one_piece = chance(generator, distribution.one_piece_share, count) & ~has_swimwear
    leg = _interpolate(
        distribution.leg,
        _uniform_in_ranges(((0.86, 1.0), (0.28, 0.6), (0.0, 0.2)), (0.62, 0.32, 0.06), count, generator),
    )
    cuts = Cuts(
        **_sample_cuts_top(distribution, has_swimwear, torch.where(one_piece, -leg, torch.inf), generator),
        **_sample_cuts_bottom(distribution, has_swimwear, torch.where(one_piece, torch.inf, leg), generator),
        **_sample_cuts_coat(distribution, has_swimwear, generator),
        **_sample_cuts_hair(distribution, has_hat, generator),
    )
    return Outfit(cuts, _sample_fabrics(distribution, has_hat, generator))


def _sample_cuts_top(
    distribution: OutfitDistribution,
    has_swimwear: Bool[Tensor, "B"],
    dress_hem: Float[Tensor, "B"],
    generator: Generator,
) -> dict[str, Tensor]:
    """Cuts of shirts and bikinis, and of dresses and suits where ``dress_hem`` is finite."""
    count = len(has_swimwear)
    sleeve = _uniform_in_ranges(
        ((0.0, 0.0), (0.22, 0.5), (0.5, 0.9), (0.95, 1.0)), (0.14, 0.36, 0.1, 0.4), count, generator
    )
    hem = _uniform_in_ranges(((-0.12, 0.2), (-0.3, -0.1), (0.25, 0.4)), (0.72, 0.2, 0.08), count, generator)
    bikini = torch.where(chance(generator, 0.5, count), uniform(generator, 0.55, 0.6, count), BEYOND_BODY)
    hem = torch.where(dress_hem.isfinite(), dress_hem, torch.where(has_swimwear, bikini, hem))
    low_cut = chance(generator, 0.3, count) | has_swimwear
    depth_m = torch.where(low_cut, uniform(generator, 0.09, 0.2, count), uniform(generator, 0.0, 0.08, count))
    badge_m = uniform(generator, 0.03, 0.09, count) * chance(generator, distribution.badge_share, count)
    return {
        "sleeve": torch.where(has_swimwear, 0.0, _interpolate(distribution.sleeve, sleeve)),
        "top_hem": hem,
        "neck_m": uniform(generator, 0.575, 0.60, count),
        "neck_front_m": depth_m,
        "neck_back_m": uniform(generator, 0.0, 0.03, count) + 0.12 * has_swimwear,
        "neck_width_m": uniform(generator, 0.07, 0.13, count),
        "neck_round": chance(generator, 0.65, count).float(),
        "badge_m": badge_m * ~has_swimwear,
    }


def _sample_cuts_bottom(
    distribution: OutfitDistribution, has_swimwear: Bool[Tensor, "B"], leg: Float[Tensor, "B"], generator: Generator
) -> dict[str, Tensor]:
    """Cuts of trousers, shorts and skirts (none where ``leg`` is infinite), socks and shoes."""
    count = len(has_swimwear)
    worn = leg.isfinite()
    waist = uniform(generator, 0.08, 0.32, count)
    rise = uniform(generator, 0.3, 1.4, count) * (leg < _BRIEFS)
    belted = chance(generator, 0.3, count)
    barefoot = has_swimwear | ~chance(generator, distribution.shoe_share, count)
    socks = chance(generator, distribution.sock_share, count) & ~has_swimwear
    sock = _uniform_in_ranges(((0.05, 0.13), (0.15, 0.45), (0.6, 1.1)), (0.6, 0.3, 0.1), count, generator)
    shoe = _uniform_in_ranges(((-0.02, 0.035), (0.06, 0.2), (0.3, 0.5)), (0.7, 0.2, 0.1), count, generator)
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


def _sample_cuts_coat(
    distribution: OutfitDistribution, has_swimwear: Bool[Tensor, "B"], generator: Generator
) -> dict[str, Tensor]:
    """Cuts of coats, jackets and waistcoats, open at the front."""
    count = len(has_swimwear)
    worn = chance(generator, distribution.coat_share, count) & ~has_swimwear
    sleeve = _uniform_in_ranges(((0.95, 1.0), (0.0, 0.0)), (0.85, 0.15), count, generator)
    hem = _uniform_in_ranges(((-0.12, 0.12), (-0.6, -0.12)), (0.75, 0.25), count, generator)
    return {
        "coat_sleeve": _interpolate(distribution.sleeve, sleeve),
        "coat_hem": torch.where(worn, hem, BEYOND_BODY),
        "coat_open_m": uniform(generator, -0.02, 0.09, count),
        "coat_flare_m": uniform(generator, 0.04, 0.09, count),
    }


def _sample_cuts_hair(
    distribution: OutfitDistribution, has_hat: Bool[Tensor, "B"], generator: Generator
) -> dict[str, Tensor]:
    """Borders of hair, or of a hat in its place, and of beards."""
    count = len(has_hat)
    bald = chance(generator, distribution.bald_share, count) & ~has_hat
    long = chance(generator, distribution.long_hair_share, count) & ~bald & ~has_hat
    bearded = chance(generator, distribution.beard_share, count) & ~long
    hairline_m = uniform(generator, -0.01, 0.02, count)
    return {
        "hairline_m": torch.where(bald, BEYOND_BODY, hairline_m),
        "long_hair_m": torch.where(long, uniform(generator, 0.40, 0.68, count), BEYOND_BODY),
        "beard_m": torch.where(bearded, uniform(generator, 0.0, 0.015, count), BEYOND_BODY),
    }


def _sample_fabrics(distribution: OutfitDistribution, has_hat: Tensor, generator: Generator) -> Fabrics:
    """Sample one material for each of ``LAYERS``."""
    count = len(has_hat)
    skins = sample_skins(distribution.skin, count, generator)
    hair = sample_from_palette(_HAIR_SRGB, count, generator)

    def cloth(pattern: float, denim: float = 0.05) -> Fabrics:
        """Sample cloth; ``pattern`` scales the fraction of patterned cloth."""
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
        "hair": where(has_hat, cloth(0.5), strands),
        "sclera": plain(sclera),
        "iris": plain(sample_from_palette(_IRIS_SRGB, count, generator)),
    }
    return stack([fabrics[name] for name in LAYERS])


def _uniform_in_ranges(
    ranges: tuple[tuple[float, float], ...], weights: tuple[float, ...], count: int, generator: Generator
) -> Float[Tensor, "B"]:
    """Uniform values in one of several ranges, chosen in proportion to the weights."""
    drawn = torch.stack([uniform(generator, low, high, count) for low, high in ranges])
    return drawn[choice(generator, weights, count), torch.arange(count)]


def _interpolate(limits: tuple[float, float], share: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * share
