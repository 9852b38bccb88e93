"""Sampled lighting: directional lights, ambient light, gloss and cast shadows."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.draw import chance, normal, uniform
from posebridge.rendering.shade import Lights

_FIRST_HARMONIC, _SECOND_HARMONIC = 0.282095, 0.488603  # constants of rendering.shade.spherical_harmonics


@dataclass(frozen=True)
class LightDistribution:
    """Ranges of the lighting of each image."""

    number: tuple[int, int] = (1, 2)  # of directional lights, both ends included; the upper end is at least 1
    key_light: tuple[float, float] = (0.5, 1.2)  # intensity of directional lights, as in ``Lights.colour``
    ambient: tuple[float, float] = (0.3, 0.7)  # intensity of the ambient light
    colour: float = 0.1  # standard deviation of the log intensity of each channel
    specular: tuple[float, float] = (0.0, 0.03)  # reflectance at normal incidence, in [0, 1]
    shadow_share: float = 0.6  # fraction of images whose first light casts shadows


@dataclass(frozen=True)
class Lighting:
    """Lights of B images, and the reflectance parameters of their subjects (see ``rendering.shade.Material``)."""

    lights: Lights
    specular: Float[Tensor, "B"]
    shininess: Float[Tensor, "B"]
    subsurface: Float[Tensor, "B"]
    shadowed: Bool[Tensor, "B"]  # whether the first light casts shadows


def sample_lighting(distribution: LightDistribution, count: int, generator: Generator) -> Lighting:
    """Sample the lighting of ``count`` images."""
    return Lighting(
        lights=sample_lights(distribution, count, generator),
        specular=uniform(generator, *distribution.specular, count),
        shininess=uniform(generator, 6.0, 40.0, count),
        subsurface=uniform(generator, 0.1, 0.4, count),
        shadowed=chance(generator, distribution.shadow_share, count),
    )


def sample_lights(distribution: LightDistribution, count: int, generator: Generator) -> Lights:
    """Sample directional lights on the camera's side of the subject, and ambient light with one brighter side."""
    most = distribution.number[1]
    direction = normal(generator, 1.0, count, most, 3)
    direction[..., 2] = -direction[..., 2].abs() - 0.2  # towards the camera's side
    direction[..., 1] -= 0.5  # more often from above
    number = torch.randint(distribution.number[0], most + 1, (count, 1), generator=generator)
    on = torch.arange(most) < number
    power = uniform(generator, *distribution.key_light, count, most) * on / number.clamp(min=1) ** 0.5
    tint = torch.exp(normal(generator, distribution.colour, count, most, 3))
    ambient = torch.zeros(count, 9, 3)
    level = uniform(generator, *distribution.ambient, count, 1)
    sky = torch.exp(normal(generator, distribution.colour, count, 3))
    ambient[:, 0] = level * sky / _FIRST_HARMONIC
    side = torch.nn.functional.normalize(normal(generator, 1.0, count, 3), dim=-1)
    side = side * uniform(generator, 0.0, 0.5, count, 1) * level / _SECOND_HARMONIC
    ambient[:, 1:4] = side[..., None] * sky[:, None]
    return Lights(ambient, torch.nn.functional.normalize(direction, dim=-1), power[..., None] * tint)
