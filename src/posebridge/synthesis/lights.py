"""The light on a subject: directional lights, a soft environment, gloss and cast shadows."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from posebridge.draw import chance, normal, uniform
from posebridge.rendering.shade import Lights

_FIRST_HARMONIC, _SECOND_HARMONIC = 0.282095, 0.488603  # constants of rendering.shade.spherical_harmonics


@dataclass(frozen=True)
class LightDistribution:
    """Ranges of what is drawn for each picture."""

    number: tuple[int, int] = (1, 2)  # of directional lights, inclusive; the second is at least 1
    key_light: tuple[float, float] = (0.5, 1.2)
    ambient: tuple[float, float] = (0.3, 0.7)
    colour: float = 0.1  # deviation of the lights' channels
    specular: tuple[float, float] = (0.0, 0.03)
    shadow_share: float = 0.6


@dataclass(frozen=True)
class Lighting:
    """The lights of B pictures, and how their subjects take light."""

    lights: Lights
    specular: Float[Tensor, "B"]
    shininess: Float[Tensor, "B"]
    subsurface: Float[Tensor, "B"]
    shadowed: Bool[Tensor, "B"]  # whether the first light casts shadows


def sample_lighting(distribution: LightDistribution, count: int, generator: Generator) -> Lighting:
    """Draw the light of ``count`` pictures."""
    return Lighting(
        lights=sample_lights(distribution, count, generator),
        specular=uniform(generator, *distribution.specular, count),
        shininess=uniform(generator, 6.0, 40.0, count),
        subsurface=uniform(generator, 0.1, 0.4, count),
        shadowed=chance(generator, distribution.shadow_share, count),
    )


def sample_lights(distribution: LightDistribution, count: int, generator: Generator) -> Lights:
    """Directional lights in front of the hand, and a soft environment with a bright side."""
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
