"""Gradients against finite differences, for functions that treat the samples of a batch independently."""

from collections.abc import Callable

import torch
from torch import Tensor


def assert_gradients_match(
    function: Callable[..., Tensor], *inputs: Tensor, rtol: float, atol: float = 1e-5, eps: float = 1e-6
) -> None:
    """Compare the Jacobian of every sample and input with central differences.

    Like ``torch.autograd.gradcheck``, but with all steps in one batch, and all backward passes, too. ``inputs`` are of
    double precision with one batch dimension, and ``function`` takes batches of any size.
    """
    for sample in range(len(inputs[0])):
        point = [value[sample].detach() for value in inputs]
        for i, value in enumerate(point):
            steps = eps * torch.eye(value.numel(), dtype=value.dtype).unflatten(1, value.shape)
            forward, backward = (function(*_batch(point, i, sign * steps)).flatten(1) for sign in (1, -1))
            numerical = (forward - backward) / (2 * eps)  # inputs x outputs
            copies = _batch(point, i, torch.zeros(numerical.shape[1], *value.shape, dtype=value.dtype))
            copies[i].requires_grad_()
            outputs = function(*copies).flatten(1).diagonal().sum()  # output k of copy k
            (analytical,) = torch.autograd.grad(outputs, copies[i])
            torch.testing.assert_close(analytical.flatten(1).T, numerical, rtol=rtol, atol=atol)


def _batch(point: list[Tensor], i: int, steps: Tensor) -> list[Tensor]:
    """Copies of the point, one per step, with the steps added to input ``i``."""
    copies = [value.expand(len(steps), *value.shape).clone() for value in point]
    copies[i] += steps
    return copies
