"""Metrics of a checkpoint's pseudo-labels, which never take part in the choice of the checkpoint.

Accuracy of joints (the oracle's score), coverage and precision of pseudo-labels, and their history: Table 3(b), and
Table B(b) of the supplement, of Lin et al., NeurIPS 2023.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.networks.pose_network import PoseNetwork
from posebridge.training.pseudo_labels import HasPseudoLabels, PseudoLabels
from posebridge.training.stage import PoseStage

_BATCH = 64
_MAX_ERROR_FRAC = 0.05  # of the image side, of a correct joint


class PseudoLabelMetrics:
    """Measures a stage on fixed frames of the target. Without labels, only coverage and overlap are measured."""

    def __init__(self, frames: UnlabelledBatch, labels: LabelledBatch | None):
        """``labels`` are those of the same frames."""
        self.frames = frames
        self.labels = labels
        self._ever_correct: Bool[Tensor, "N J"] | None = None
        self._previous_errors: Bool[Tensor, "N J"] | None = None  # at the checkpoint before

    def __call__(self, stage: PoseStage) -> dict[str, float]:
        """Metrics of the stage now, by name. The history starts anew at the first step of a stage."""
        network, numbers = stage.result(), {}
        device = next(network.parameters()).device
        if self.labels is not None:
            numbers["oracle"] = fraction(self._correct(predict_joints(network, self.frames)), self._labelled())
        if isinstance(stage, HasPseudoLabels):
            if stage.global_step == 0:
                self._ever_correct = self._previous_errors = None
            numbers |= self._label_metrics(stage.pseudo_labels(self.frames.to(device)))
        return numbers

    def _label_metrics(self, pseudo: PseudoLabels) -> dict[str, float]:
        kept = pseudo.kept.cpu()
        numbers = {"coverage": kept.float().mean().item()}
        if pseudo.by_confidence is not None and pseudo.by_anatomy is not None:
            either = pseudo.by_confidence | pseudo.by_anatomy
            numbers["overlap"] = fraction((pseudo.by_confidence & pseudo.by_anatomy).cpu(), either.cpu())
        if self.labels is None:
            return numbers
        labelled, correct = self._labelled(), self._correct(pseudo.uv_px.cpu())
        used = kept & labelled
        numbers["precision"] = fraction(correct, used)
        before = torch.zeros_like(labelled) if self._ever_correct is None else self._ever_correct
        self._ever_correct = before | (used & correct)
        numbers["ever_correct"] = fraction(self._ever_correct, labelled)
        errors = used & ~correct
        if self._previous_errors is not None:
            numbers["repeated_errors"] = fraction(errors & self._previous_errors, errors | self._previous_errors)
        self._previous_errors = errors
        return numbers

    def _labelled(self) -> Bool[Tensor, "N J"]:
        assert self.labels is not None
        assert self.labels.valid is not None
        return self.labels.valid

    def _correct(self, uv_px: Float[Tensor, "N J 2"]) -> Bool[Tensor, "N J"]:
        assert self.labels is not None
        return correct_joints(uv_px, self.labels)

    def state_dict(self) -> dict:
        """Kept in the checkpoint."""
        return {"ever_correct": self._ever_correct, "previous_errors": self._previous_errors}

    def load_state_dict(self, state: dict) -> None:
        """Restored from the checkpoint."""
        self._ever_correct, self._previous_errors = state["ever_correct"], state["previous_errors"]


@torch.no_grad()
def predict_joints(network: PoseNetwork, frames: UnlabelledBatch) -> Float[Tensor, "N J 2"]:
    """A network's joints in pixels of the crops, on the CPU."""
    images = frames.rgb.to(next(network.parameters()).device)
    return torch.cat([network.predict(part).uv_px for part in images.split(_BATCH)]).cpu()


def correct_joints(uv_px: Float[Tensor, "N J 2"], labels: LabelledBatch) -> Bool[Tensor, "N J"]:
    """Mask of the joints with an error below 5% of the image side."""
    assert labels.uv_px is not None
    return (uv_px - labels.uv_px).norm(dim=-1) < _MAX_ERROR_FRAC * labels.rgb.shape[-1]


def fraction(mask: Bool[Tensor, "N J"], among: Bool[Tensor, "N J"]) -> float:
    """Fraction of the joints ``among`` that are in ``mask``; NaN where there are none."""
    return mask[among].float().mean().item()
