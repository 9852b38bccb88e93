"""Random draws that every room of the scene shares. Each takes the generator that it draws from."""

import math

import numpy as np
import torch
from torch import Generator, Tensor

from posebridge.errors import InputError


def check_seed(seed: int) -> None:
    """Raise ``InputError`` for a seed that generators refuse."""
    if seed < 0:
        raise InputError(f"seed {seed} is impossible: give 0 or more")


def generator_for(seed: int, *index: int) -> Generator:
    """An independent generator for an item of stream ``seed``; the same on every machine and worker.

    An index of several numbers must end in one that is not 0, for a trailing 0 seeds as if it were not there.
    """
    state = np.random.SeedSequence([seed, *index]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def log_uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Numbers in [low, high) whose logarithm is uniform."""
    return torch.exp(uniform(generator, math.log(low), math.log(high), *shape))


def normal(generator: Generator, deviation: float, *shape: int) -> Tensor:
    """Zero-mean normal numbers."""
    return deviation * torch.randn(shape, generator=generator)


def chance(generator: Generator, probability: float, *shape: int) -> Tensor:
    """True with the given probability."""
    return torch.rand(shape, generator=generator) < probability


def choice(generator: Generator, weights: tuple[float, ...], count: int) -> Tensor:
    """``count`` indices drawn in proportion to ``weights``."""
    return torch.multinomial(torch.tensor(weights), count, replacement=True, generator=generator)
