"""The optimiser, and the learning-rate schedule of a stage."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Schedule:
    """Number of steps, learning rate and optimiser settings of one stage."""

    steps: int
    learning_rate: float = 1e-4
    decay: Literal["cosine", "steps", "inverse", "none"] = "steps"
    drops: tuple[float, ...] = (0.75,)  # for "steps": fractions of the stage at which the rate falls to a tenth
    warmup: float = 0.0  # fraction of the stage over which the rate rises from zero
    weight_decay: float = 0.0
    clip_norm: float = 0.0  # maximum gradient norm; 0: no clipping
    momentum: float = 0.9  # beta 1 of Adam, or that of SGD
    second_momentum: float = 0.999  # beta 2
    optimiser: Literal["adam", "sgd"] = "adam"  # "sgd": with Nesterov's momentum

    def rate_factor(self, step: int) -> float:
        """The factor on the learning rate before step ``step``."""
        t = step / max(1, self.steps)
        rise = min(1.0, (step + 1) / max(1.0, self.warmup * self.steps))
        if self.decay == "cosine":
            return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, t)))
        if self.decay == "steps":
            return rise * 0.1 ** sum(t >= drop for drop in self.drops)
        if self.decay == "inverse":  # of Ganin and Lempitsky, ICML 2015, as public code has it
            return rise * (1 + 1e-4 * step) ** -0.75
        return rise


def planned_steps(config: Any) -> int:
    """The steps of all schedules in a config, nested ones included."""
    if isinstance(config, Schedule):
        return config.steps
    if not dataclasses.is_dataclass(config):
        return 0
    return sum(planned_steps(getattr(config, field.name)) for field in dataclasses.fields(config))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    parameters: tuple[nn.Parameter, ...]
    rate: float = 1.0  # as a fraction of the schedule's


def groups_with_rate(
    parameters: Iterable[nn.Parameter], encoder: Iterable[nn.Parameter], rate: float
) -> tuple[ParameterGroup, ParameterGroup]:
    """The parameters of an encoder, with a rate of their own, and the others."""
    inside = {id(parameter) for parameter in encoder}
    every = tuple(parameters)
    return (
        ParameterGroup(tuple(p for p in every if id(p) in inside), rate),
        ParameterGroup(tuple(p for p in every if id(p) not in inside)),
    )


def optimiser(groups: Sequence[ParameterGroup], schedule: Schedule) -> tuple[Optimizer, LambdaLR]:
    """AdamW (Adam without weight decay) or SGD, and its schedule, which advances once per training step."""
    parameters = [
        {"params": [p for p in group.parameters if p.requires_grad], "lr": schedule.learning_rate * group.rate}
        for group in groups
    ]
    rate, decay = schedule.learning_rate, schedule.weight_decay
    if schedule.optimiser == "sgd":
        made = torch.optim.SGD(parameters, rate, schedule.momentum, weight_decay=decay, nesterov=True, foreach=True)
    else:
        betas = (schedule.momentum, schedule.second_momentum)
        made = torch.optim.AdamW(parameters, rate, betas, weight_decay=decay, foreach=True)
    return made, LambdaLR(made, schedule.rate_factor)
