"""Pseudo-labels of all target frames, with their corrections and gates, over the iterations of Algorithm 6.1."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from posebridge.training.multi_task import SoftPose


@dataclass(frozen=True)
class StoredLabels:
    """Pseudo-labels p̂ of B frames, corrections r = P(p̂), and C(p̂) of Eq. 6.8."""

    pseudo: SoftPose
    corrected: SoftPose
    inconsistency: Float[Tensor, "B"]  # C: the smaller, the more confident

    def accepted(self, threshold: float) -> Bool[Tensor, "B"]:
        """The indicator of Eq. 6.4."""
        return self.inconsistency <= threshold


class LabelStore(nn.Module):
    """Pseudo-labels in buffers, a row for each frame of the target; its history feeds the report.

    Keys are no tensors: a stage keeps ``keys`` in its checkpoint. Rows of frames that can't be read stay unknown.
    """

    pseudo: Tensor
    corrected: Tensor
    inconsistency: Tensor
    known: Tensor
    iteration: Tensor
    accepted_share: Tensor
    movement: Tensor
    shown: Tensor
    shown_rows: Tensor

    def __init__(self, frames: int, joints: int, iterations: int, shown_rows: Int[Tensor, "S"]):
        """Frames of ``shown_rows`` keep their pseudo-labels of every iteration."""
        super().__init__()
        self.keys: dict[str, int] = {}
        for name, values in {
            "pseudo": torch.zeros(frames, joints, 3),  # position in pixels of a 64 px map, depth
            "corrected": torch.zeros(frames, joints, 3),
            "inconsistency": torch.zeros(frames),
            "known": torch.zeros(frames, dtype=torch.bool),
            "iteration": torch.tensor(-1),  # the one whose labels are stored
            "accepted_share": torch.zeros(iterations),
            "movement": torch.zeros(iterations),  # mean distance to the labels before, in pixels of a 64 px map
            "shown": torch.zeros(iterations, len(shown_rows), joints, 3),
            "shown_rows": shown_rows,
        }.items():
            self.register_buffer(name, values)

    def rows_of(self, keys: Sequence[str]) -> Int[Tensor, "B"]:
        """The rows of frames. Raises ``KeyError`` for a frame without a pseudo-label."""
        return torch.tensor([self.keys[key] for key in keys], device=self.pseudo.device)

    def labels(self, rows: Int[Tensor, "B"]) -> StoredLabels:
        """The pseudo-labels of frames."""
        return StoredLabels(_pose(self.pseudo[rows]), _pose(self.corrected[rows]), self.inconsistency[rows])

    def begin(self, iteration: int) -> None:
        """Count movements of an iteration from zero."""
        self.iteration.fill_(iteration)
        self.movement[iteration] = 0

    def store(self, rows: Int[Tensor, "B"], keys: Sequence[str], labels: StoredLabels) -> None:
        """Keep the labels of some frames for the current iteration."""
        pseudo, corrected = _packed(labels.pseudo), _packed(labels.corrected)
        iteration = int(self.iteration)
        if iteration > 0:
            moved = (pseudo[..., :2] - self.pseudo[rows][..., :2]).norm(dim=-1).mean(1)
            self.movement[iteration] += moved.sum()
        self.pseudo[rows], self.corrected[rows] = pseudo, corrected
        self.inconsistency[rows] = labels.inconsistency
        self.known[rows] = True
        self.keys.update(zip(keys, rows.tolist(), strict=True))

    def finish(self, threshold: float) -> None:
        """Record the iteration whose labels are all stored."""
        iteration = int(self.iteration)
        self.accepted_share[iteration] = (self.inconsistency[self.known] <= threshold).float().mean()
        self.movement[iteration] /= self.known.sum()
        self.shown[iteration] = self.pseudo[self.shown_rows]


def _pose(values: Float[Tensor, "B J 3"]) -> SoftPose:
    return SoftPose(values[..., :2], values[..., 2])


def _packed(pose: SoftPose) -> Float[Tensor, "B J 3"]:
    return torch.cat([pose.uv, pose.depth[..., None]], dim=-1)
