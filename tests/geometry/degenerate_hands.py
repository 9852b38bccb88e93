"""Degenerate poses of hands: not finite, without lengths, on a line, or of extreme scale."""

import torch

from geometry.source_poses import source_poses
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.kinematics import kinematics_of


def degenerate_hands(dtype: torch.dtype) -> torch.Tensor:
    """10,000 hands, among them degenerate ones of all kinds."""
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(10_000, 21, 3, generator=generator, dtype=dtype)
    joints[1000:2000] = source_poses("hand21")[:250].repeat(4, 1, 1).to(dtype)
    for start, spoil in enumerate(
        (
            lambda pose, j: pose[:, j].fill_(torch.nan),
            lambda pose, j: pose[:, j].fill_(torch.inf),
            lambda pose, j: pose[:, j].copy_(pose[:, kinematics_of(HAND21).parents[j]]),  # no length
            lambda pose, j: pose.mul_(0),
            lambda pose, j: pose[:, 1:].copy_(pose[:, 1:2].clone()),  # all fingers in one place
            lambda pose, j: pose[:, :].copy_(torch.arange(21)[:, None] * pose[:, :1]),  # on a line
            lambda pose, j: pose.mul_(1e30),
            lambda pose, j: pose.mul_(1e-30),
            lambda pose, j: pose[:, 7].copy_(pose[:, 5]),  # a finger folded right back
            lambda pose, j: pose.round_(),
        )
    ):
        spoil(joints[2000 + 700 * start : 2700 + 700 * start], 1 + start % 20)
    return joints
