"""Distributions of shapes: Anny's phenotypes, and the finger lengths of hands."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from posebridge.bodies.anny_loading import PHENOTYPES
from posebridge.draw import normal, uniform
from posebridge.skeletons.hand import FINGERS

# Columns of a hand's shape: Anny's phenotypes in [0, 1], and finger lengths in standard deviations.
HAND_SHAPE_NAMES = (*PHENOTYPES, *(f"{finger}_length" for finger in FINGERS))

MAX_FINGER_DEVIATION = 2.5  # standard deviations; longer and shorter fingers are clamped
# Between the deviations of two fingers. The ratio of two fingers' lengths then has a deviation of 3.3%, about that of
# the ratio of index to ring finger among adults.
_FINGER_CORRELATION = 2 / 3


@dataclass(frozen=True)
class ShapeDistribution:
    """Uniform ranges of Anny's phenotypes, within [0, 1]. Age: 1/3 is a child, 2/3 a young adult, 1 is old."""

    age: tuple[float, float] = (0.55, 0.85)
    gender: tuple[float, float] = (0.0, 1.0)
    muscle: tuple[float, float] = (0.2, 0.8)
    weight: tuple[float, float] = (0.2, 0.8)
    height: tuple[float, float] = (0.3, 0.7)
    proportions: tuple[float, float] = (0.3, 0.7)
    finger_lengths: bool = False  # of hands: whether fingers vary in length beside the phenotypes


# The hands of all domains lie in these ranges; parametric hands are their principal components.
HAND_POPULATION = ShapeDistribution(
    age=(0.4, 1.0), muscle=(0.0, 1.0), weight=(0.0, 1.0), proportions=(0.1, 0.9), finger_lengths=True
)


def sample_phenotypes(shapes: ShapeDistribution, count: int, generator: Generator) -> Float[Tensor, "B 6"]:
    """Sample phenotypes in [0, 1], in the order of ``bodies.anny_loading.PHENOTYPES``."""
    ranges = (shapes.gender, shapes.age, shapes.muscle, shapes.weight, shapes.height, shapes.proportions)
    return torch.stack([uniform(generator, low, high, count) for low, high in ranges], dim=-1)


def sample_hand_shapes(shapes: ShapeDistribution, count: int, generator: Generator) -> Float[Tensor, "B 11"]:
    """Sample the columns of ``HAND_SHAPE_NAMES``. Without ``finger_lengths`` these are 0, and nothing is drawn."""
    phenotypes = sample_phenotypes(shapes, count, generator)
    if not shapes.finger_lengths:
        return F.pad(phenotypes, (0, len(FINGERS)))
    own, shared = normal(generator, 1.0, count, len(FINGERS)), normal(generator, 1.0, count, 1)
    fingers = (1 - _FINGER_CORRELATION) ** 0.5 * own + _FINGER_CORRELATION**0.5 * shared
    return torch.cat([phenotypes, fingers.clamp(-MAX_FINGER_DEVIATION, MAX_FINGER_DEVIATION)], dim=1)
