"""Skin of hands: tone, its variation over the hand, and sleeves."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from posebridge.draw import chance, log_uniform, normal, uniform
from posebridge.rendering.shade import srgb_to_linear

# sRGB skin tones from light to dark, after common dermatological scales.
_SKIN_SRGB = (
    (0.96, 0.84, 0.77),
    (0.93, 0.77, 0.66),
    (0.86, 0.66, 0.53),
    (0.76, 0.55, 0.41),
    (0.61, 0.42, 0.31),
    (0.46, 0.31, 0.23),
    (0.31, 0.20, 0.16),
)
_FLUSH = (1.12, 0.86, 0.84)  # factor on the RGB albedo of finger tips, from blood
_WAVES = 10  # plane waves in a skin texture


@dataclass(frozen=True)
class SkinDistribution:
    """Ranges of the skin and sleeve of each hand."""

    tone: tuple[float, float] = (0.0, 1.0)  # 0 is the lightest skin, 1 the darkest
    tone_jitter: float = 0.04  # standard deviation of the log albedo of each channel
    texture: tuple[float, float] = (0.0, 0.12)  # relative amplitude of mottling
    sleeve_share: float = 0.0  # fraction of hands with a sleeve


@dataclass(frozen=True)
class Skin:
    """Sampled parameters of B skins; colours are linear RGB."""

    base: Float[Tensor, "B 3"]
    palm: Float[Tensor, "B 3"]
    nail: Float[Tensor, "B 3"]
    crease_gain: Float[Tensor, "B"]
    redness: Float[Tensor, "B"]
    texture: Float[Tensor, "B"]
    wave_vectors: Float[Tensor, "B W 3"]  # radians per metre
    wave_phases: Float[Tensor, "B W"]
    sleeve: Float[Tensor, "B 3"]
    sleeve_from: Float[Tensor, "B"]  # on ``HandSurface.arm``; above 1 without a sleeve
    sleeve_stripes: Float[Tensor, "B"]  # number of stripes along the forearm; 0 for plain cloth

    def albedo(self, surface: Float[Tensor, "N 8"], sample: Int[Tensor, "N"]) -> Float[Tensor, "N 3"]:
        """Albedo of N points in linear RGB.

        ``surface`` holds the columns of ``HandSurface.stacked`` at the points, ``sample`` each point's index in [0, B).
        """
        rest, palm, nail, crease, tip, arm = surface.split([3, 1, 1, 1, 1, 1], dim=-1)

        def each(value: Tensor) -> Tensor:  # B ... -> N ..., at least one column
            chosen = value.index_select(0, sample)
            return chosen[:, None] if value.ndim == 1 else chosen

        colour = torch.lerp(each(self.base), each(self.palm), palm)
        colour = colour * (1 + each(self.redness) * tip * (colour.new_tensor(_FLUSH) - 1))
        colour = colour * (1 - each(self.crease_gain) * crease)
        phase = (each(self.wave_vectors) * rest[:, None]).sum(-1) + each(self.wave_phases)
        mottle = torch.sin(phase).mean(-1, keepdim=True) * _WAVES**0.5
        colour = torch.lerp(colour * (1 + each(self.texture) * mottle), each(self.nail), 0.8 * nail)
        stripes = (0.5 + 0.5 * torch.sin(2 * math.pi * each(self.sleeve_stripes) * arm)) * (
            each(self.sleeve_stripes) > 0
        )
        cloth = each(self.sleeve) * (1 - 0.6 * stripes)
        return torch.where(arm > each(self.sleeve_from), cloth, colour).clamp(0.005, 0.95)


def sample_skins(distribution: SkinDistribution, count: int, generator: Generator) -> Skin:
    """Sample ``count`` skins and sleeves."""
    anchors = srgb_to_linear(torch.tensor(_SKIN_SRGB))
    t = uniform(generator, *distribution.tone, count) * (len(anchors) - 1)
    step = t.floor().clamp(max=len(anchors) - 2)
    base = torch.lerp(anchors[step.long()], anchors[step.long() + 1], (t - step)[:, None])
    base = (base * torch.exp(normal(generator, distribution.tone_jitter, count, 3))).clamp(0.01, 0.95)
    # Palms have little melanin: palm and back differ little in light skin and much in dark skin.
    pale = srgb_to_linear(torch.tensor([0.90, 0.70, 0.62]))
    palm = torch.lerp(base, pale, uniform(generator, 0.1, 0.55, count, 1))
    nail = torch.lerp(palm, srgb_to_linear(torch.tensor([0.95, 0.80, 0.78])), uniform(generator, 0.2, 0.9, count, 1))
    directions = torch.nn.functional.normalize(normal(generator, 1.0, count, _WAVES, 3), dim=-1)
    sleeved = chance(generator, distribution.sleeve_share, count)
    return Skin(
        base=base,
        palm=palm,
        nail=nail,
        crease_gain=uniform(generator, 0.0, 0.3, count),
        redness=uniform(generator, 0.0, 1.2, count),
        texture=uniform(generator, *distribution.texture, count),
        wave_vectors=directions * log_uniform(generator, 60.0, 900.0, count, _WAVES, 1),
        wave_phases=uniform(generator, 0.0, 6.283, count, _WAVES),
        sleeve=uniform(generator, 0.02, 0.8, count, 1) * uniform(generator, 0.3, 1.0, count, 3),
        sleeve_from=torch.where(sleeved, uniform(generator, 0.02, 0.6, count), torch.tensor(2.0)),
        sleeve_stripes=torch.where(
            chance(generator, 0.3, count), uniform(generator, 5.0, 30.0, count), torch.tensor(0.0)
        ),
    )
