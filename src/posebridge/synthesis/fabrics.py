"""Materials of cloth, skin and hair: two colours, mixed by stripes, checks, dots or waves."""

import math
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.draw import choice, log_uniform, normal, uniform
from posebridge.rendering.shade import srgb_to_linear

WAVES = 4  # plane waves per material
_GREYS = ((0.03, 0.03, 0.035), (0.09, 0.09, 0.10), (0.25, 0.25, 0.26), (0.5, 0.5, 0.5), (0.9, 0.9, 0.88))  # sRGB
_DENIM = ((0.10, 0.12, 0.20), (0.16, 0.22, 0.36), (0.33, 0.43, 0.57), (0.60, 0.68, 0.76))
_EARTHS = ((0.76, 0.69, 0.57), (0.55, 0.46, 0.35), (0.36, 0.27, 0.20), (0.35, 0.37, 0.26), (0.20, 0.24, 0.20))
_NEVER = 1e3  # a threshold above every pattern


@dataclass(frozen=True)
class PatternShares:
    """Fractions of cloth with each pattern; the rest is plain."""

    stripes_around: float = 0.14  # stripes around the trunk and limbs
    stripes_along: float = 0.07  # stripes along the trunk and limbs
    checks: float = 0.09
    dots: float = 0.05
    prints: float = 0.12  # irregular patches from waves

    def scaled(self, factor: float) -> "PatternShares":
        """All fractions times ``factor``."""
        return PatternShares(**{f.name: factor * getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Fabrics:
    """Materials of any leading shape ``*n``. Albedos are linear RGB.

    The pattern is the sum, weighted by ``mix``, of stripes and waves (each about in [-1, 1]) and of the palm map of
    skin. The second colour shows where the pattern exceeds ``threshold``.
    """

    first: Float[Tensor, "*n 3"]
    second: Float[Tensor, "*n 3"]
    mix: Float[Tensor, "*n 4"]  # weights of stripes around, stripes along, waves, palm map
    threshold: Float[Tensor, "*n 1"]
    sharpness: Float[Tensor, "*n 1"]  # slope of the border between the colours
    around_stripe: Float[Tensor, "*n 2"]  # radians per metre along the limb; phase
    along_stripe: Float[Tensor, "*n 2"]  # integer number of periods around the limb; phase
    relief: Float[Tensor, "*n 1"]  # relative amplitude of brightness from waves: folds, mottling
    wave_vectors: Float[Tensor, "*n 12"]  # WAVES vectors in radians per metre, in rest coordinates
    wave_phases: Float[Tensor, "*n 4"]

    def stacked(self) -> Float[Tensor, "C *n"]:
        """All parameters as rows, in the order of the fields."""
        return torch.cat([getattr(self, f.name) for f in fields(self)], dim=-1).movedim(-1, 0).contiguous()


def fabric_albedo(
    rows: Float[Tensor, "C N"],
    rest_m: Float[Tensor, "3 N"],
    along_m: Float[Tensor, "N"],
    around_rad: Float[Tensor, "N"],
    palm: Float[Tensor, "N"],
) -> Float[Tensor, "N 3"]:
    """Albedo of N points in linear RGB.

    ``rows`` holds each point's material, gathered from ``Fabrics.stacked``. ``rest_m``, ``along_m`` and ``around_rad``
    are the rest position, the coordinate along the limb and the angle around it; ``palm`` is in [0, 1].
    """
    first, second, mix, threshold, sharpness, around_stripe, along_stripe, relief, vectors, phases = rows.split(
        [3, 3, 4, 1, 1, 2, 2, 1, 3 * WAVES, WAVES]
    )
    waves = torch.zeros_like(along_m)
    x, y, z = rest_m
    for w in range(WAVES):
        phase = torch.addcmul(phases[w], vectors[3 * w], x)
        phase.addcmul_(vectors[3 * w + 1], y).addcmul_(vectors[3 * w + 2], z)
        waves += phase.sin_()
    waves *= (2 / WAVES) ** 0.5
    field = mix[0] * torch.addcmul(around_stripe[1], around_stripe[0], along_m).sin_()
    field.addcmul_(mix[1], torch.addcmul(along_stripe[1], along_stripe[0], around_rad).sin_())
    field.addcmul_(mix[2], waves).addcmul_(mix[3], palm)
    second_frac = ((field - threshold[0]) * sharpness[0]).add_(0.5).clamp_(0, 1)
    light = waves.mul_(relief[0]).add_(1)
    return ((first + (second - first) * second_frac) * light).clamp_(0.005, 0.95).t()


def plain(first: Float[Tensor, "*n 3"]) -> Fabrics:
    """Materials of one colour without relief."""
    shape, zero = first.shape[:-1], first.new_zeros
    return Fabrics(
        first=first,
        second=first,
        mix=zero(*shape, 4),
        threshold=first.new_full((*shape, 1), _NEVER),
        sharpness=first.new_ones(*shape, 1),
        around_stripe=zero(*shape, 2),
        along_stripe=zero(*shape, 2),
        relief=zero(*shape, 1),
        wave_vectors=zero(*shape, 3 * WAVES),
        wave_phases=zero(*shape, WAVES),
    )


def with_relief(
    fabrics: Fabrics, relief: Float[Tensor, "B 1"], length_m: tuple[float, float], grain: float, generator: Generator
) -> Fabrics:
    """The materials with brightness waves of relative amplitude ``relief`` and lengths in ``length_m`` (log-uniform).

    ``grain`` scales the waves' frequency along the body's height: 1 is isotropic, 0 gives vertical streaks.
    """
    vectors, phases = _sample_waves(length_m, len(relief), generator)
    upright = torch.tensor([1.0, grain, 1.0]).repeat(WAVES)
    return replace(fabrics, relief=relief, wave_vectors=vectors * upright, wave_phases=phases)


def where(condition: Bool[Tensor, "B"], yes: Fabrics, no: Fabrics) -> Fabrics:
    """Select one of two materials for each sample."""
    pairs = {f.name: (getattr(yes, f.name), getattr(no, f.name)) for f in fields(Fabrics)}
    return Fabrics(**{name: torch.where(condition[:, None], a, b) for name, (a, b) in pairs.items()})


def stack(layers: list[Fabrics]) -> Fabrics:
    """Stack L batches of B materials into shape (B, L)."""
    return Fabrics(**{f.name: torch.stack([getattr(x, f.name) for x in layers], dim=1) for f in fields(Fabrics)})


def sample_cloth(
    shares: PatternShares, saturation: tuple[float, float], denim: float, count: int, generator: Generator
) -> Fabrics:
    """Sample ``count`` cloths.

    ``saturation`` is the range for colours outside the palettes of greys, earths and denims; ``denim`` is the fraction
    of denims.
    """
    weights = (shares.stripes_around, shares.stripes_along, shares.checks, shares.dots, shares.prints)
    kind = choice(generator, (*weights, max(0.0, 1 - sum(weights))), count)
    # Rows: stripes around, stripes along, checks, dots, prints, plain. Columns: stripes around, along, waves, palm.
    mix = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    centre = torch.tensor([0.2, 0.2, 0.0, 1.1, 0.3, _NEVER])[kind, None]
    sharpness = torch.tensor([12.0, 12.0, 1.5, 6.0, 4.0, 1.0])[kind, None]
    dotted = (kind == 3)[:, None]
    period_m = log_uniform(generator, 0.025, 0.16, count, 1)
    period_m = torch.where(dotted, period_m.clamp(max=0.08), period_m)
    vectors, phases = _sample_waves((0.06, 0.35), count, generator)
    around = torch.round(0.8 / period_m)  # equal periods in both directions on a trunk of 0.8 m girth
    return Fabrics(
        first=_sample_dyes(saturation, denim, count, generator),
        second=_sample_dyes(saturation, 0.0, count, generator),
        mix=mix[kind],
        threshold=centre + uniform(generator, -0.5, 0.5, count, 1) * (mix[kind].sum(-1, keepdim=True) == 1),
        sharpness=sharpness,
        around_stripe=torch.cat([2 * math.pi / period_m, uniform(generator, 0.0, 2 * math.pi, count, 1)], dim=-1),
        along_stripe=torch.cat([around, uniform(generator, 0.0, 2 * math.pi, count, 1)], dim=-1),
        relief=uniform(generator, 0.02, 0.14, count, 1),
        wave_vectors=vectors,
        wave_phases=phases,
    )


def sample_from_palette(
    anchors_srgb: tuple[tuple[float, float, float], ...], count: int, generator: Generator
) -> Float[Tensor, "B 3"]:
    """Albedos on the polyline through the anchors, with small noise."""
    palette = torch.tensor(anchors_srgb)
    t = uniform(generator, 0.0, len(palette) - 1.0, count)
    step = t.long().clamp(max=len(palette) - 2)
    srgb = torch.lerp(palette[step], palette[step + 1], (t - step)[:, None])
    return srgb_to_linear((srgb + normal(generator, 0.02, count, 3)).clamp(0.03, 0.95))


def _sample_dyes(
    saturation: tuple[float, float], denim: float, count: int, generator: Generator
) -> Float[Tensor, "B 3"]:
    """Colours of cloth: a fraction of denims; the rest greys, earths and arbitrary hues."""
    hue = uniform(generator, 0.0, 1.0, count, 1)
    # HSV to RGB: over the hue circle each channel is 1 for a third, 0 for a third, and linear between.
    sixth = (6 * hue + torch.tensor([5.0, 3.0, 1.0])) % 6
    missing = torch.minimum(sixth, 4 - sixth).clamp(0, 1)
    value = uniform(generator, 0.15, 0.95, count, 1)
    vivid = srgb_to_linear(value * (1 - uniform(generator, *saturation, count, 1) * missing))
    palettes = [sample_from_palette(palette, count, generator) for palette in (_GREYS, _DENIM, _EARTHS)]
    kind = choice(generator, (0.42 * (1 - denim), denim, 0.18 * (1 - denim), 0.40 * (1 - denim)), count)
    return torch.stack([*palettes, vivid])[kind, torch.arange(count)].clamp(0.005, 0.9)


def _sample_waves(length_m: tuple[float, float], count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Wave vectors (B, 3 WAVES) in radians per metre with random directions, and phases (B, WAVES)."""
    directions = F.normalize(normal(generator, 1.0, count, WAVES, 3), dim=-1)
    numbers = 2 * math.pi / log_uniform(generator, *length_m, count, WAVES, 1)
    return (directions * numbers).flatten(1), uniform(generator, 0.0, 2 * math.pi, count, WAVES)
