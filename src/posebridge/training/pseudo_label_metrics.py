"""What truth of the target tells about a checkpoint, beside the choice and without a way into it.

How many joints are right (the oracle's number), how many were taught and how many of these were right, and the numbers
of Lin et al., NeurIPS 2023, on pseudo-labels over time: Table 3(b) and Table B(b) of the supplement.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.networks.pose_network import PoseNetwork
from posebridge.training.pseudo_labels import PseudoLabels, ShowsPseudoLabels
from posebridge.training.stage import PoseStage

_PART = 64
_WITHIN = 0.05  # of the image side


class PseudoLabelMetrics:
    """Measures a stage on a fixed part of the target. Without truth, coverage of pseudo-labels is all that it tells."""

    def __init__(self, frames: UnlabelledBatch, truth: LabelledBatch | None):
        """``truth`` holds the same frames with labels."""
        self.frames = frames
        self.truth = truth
        self._ever_right: Bool[Tensor, "N J"] | None = None
        self._wrong: Bool[Tensor, "N J"] | None = None  # of the checkpoint before

    def __call__(self, stage: PoseStage) -> dict[str, float]:
        """Numbers of the stage as it stands; what is counted over time begins anew with a stage."""
        network, numbers = stage.result(), {}
        device = next(network.parameters()).device
        if self.truth is not None:
            numbers["oracle"] = share(self._right(positions(network, self.frames)), self._known())
        if isinstance(stage, ShowsPseudoLabels):
            if stage.global_step == 0:
                self._ever_right = self._wrong = None
            numbers |= self._of_labels(stage.pseudo_labels(self.frames.to(device)))
        return numbers

    def _of_labels(self, taught: PseudoLabels) -> dict[str, float]:
        kept = taught.kept.cpu()
        numbers = {"coverage": kept.float().mean().item()}
        if taught.by_evidence is not None and taught.by_anatomy is not None:
            either = taught.by_evidence | taught.by_anatomy
            numbers["overlap"] = share((taught.by_evidence & taught.by_anatomy).cpu(), either.cpu())
        if self.truth is None:
            return numbers
        known, right = self._known(), self._right(taught.uv_px.cpu())
        given = kept & known
        numbers["precision"] = share(right, given)
        before = torch.zeros_like(known) if self._ever_right is None else self._ever_right
        self._ever_right = before | (given & right)
        numbers["ever_right"] = share(self._ever_right, known)
        wrong = given & ~right
        if self._wrong is not None:
            numbers["wrong_again"] = share(wrong & self._wrong, wrong | self._wrong)
        self._wrong = wrong
        return numbers

    def _known(self) -> Bool[Tensor, "N J"]:
        assert self.truth is not None
        assert self.truth.valid is not None
        return self.truth.valid

    def _right(self, uv_px: Float[Tensor, "N J 2"]) -> Bool[Tensor, "N J"]:
        assert self.truth is not None
        return within(uv_px, self.truth)

    def state_dict(self) -> dict:
        """Kept in the checkpoint."""
        return {"ever_right": self._ever_right, "wrong": self._wrong}

    def load_state_dict(self, state: dict) -> None:
        """Restored from the checkpoint."""
        self._ever_right, self._wrong = state["ever_right"], state["wrong"]


@torch.no_grad()
def positions(network: PoseNetwork, frames: UnlabelledBatch) -> Float[Tensor, "N J 2"]:
    """A network's joints in pixels of the crops."""
    images = frames.rgb.to(next(network.parameters()).device)
    return torch.cat([network.predict(part).uv_px for part in images.split(_PART)]).cpu()


def within(uv_px: Float[Tensor, "N J 2"], truth: LabelledBatch) -> Bool[Tensor, "N J"]:
    """Which joints are closer than 0.05 of the image's side."""
    assert truth.uv_px is not None
    return (uv_px - truth.uv_px).norm(dim=-1) < _WITHIN * truth.rgb.shape[-1]


def share(right: Bool[Tensor, "N J"], among: Bool[Tensor, "N J"]) -> float:
    """Share of the joints in question that are right; NaN where there is none."""
    return right[among].float().mean().item()
