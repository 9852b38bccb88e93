"""Random numbers. Every function takes the generator that it uses."""

import math

import numpy as np
import torch
from torch import Generator, Tensor

from posebridge.errors import InputError


def check_seed(seed: int) -> None:
    """Raise ``InputError`` for a negative seed."""
    if seed < 0:
        raise InputError(f"seed {seed} is negative: give 0 or more")


def generator_for(seed: int, *index: int) -> Generator:
    """Generator for item ``index`` of stream ``seed``, independent of others and equal on every machine.

    An index of several numbers must not end in 0, because a trailing 0 does not change the seed.
    """
    state = np.random.SeedSequence([seed, *index]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Sample uniformly in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def log_uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Sample log-uniformly in [low, high)."""
    return torch.exp(uniform(generator, math.log(low), math.log(high), *shape))


def normal(generator: Generator, deviation: float, *shape: int) -> Tensor:
    """Sample a normal distribution with mean 0 and the given standard deviation."""
    return deviation * torch.randn(shape, generator=generator)


def chance(generator: Generator, probability: float, *shape: int) -> Tensor:
    """Sample booleans that are true with the given probability."""
    return torch.rand(shape, generator=generator) < probability


def choice(generator: Generator, weights: tuple[float, ...], count: int) -> Tensor:
    """Sample ``count`` indices in proportion to ``weights``, with replacement."""
    return torch.multinomial(torch.tensor(weights), count, replacement=True, generator=generator)
