"""The predictions of one model for frames in memory; of a depth hand model with its meshes."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch

from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands, keypoints_of
from posebridge.deployment.predictor import Predictor, predict_all

_PART = 64


@dataclass(frozen=True)
class FramePredictions:
    """Keypoints in pixels of the files, or of the frames where they come from none."""

    predictor: Predictor
    keypoints: KeypointSet
    hands: DepthHands | None = None  # of a depth hand model, each frame predicted by itself


def predict_frames(predictor: Predictor, frames: Observation) -> FramePredictions:
    """Predict frames, each by itself."""
    if not isinstance(predictor, DepthHandPredictor):
        return FramePredictions(predictor, predict_all(predictor, parts(frames)))
    found = [predictor(part.to(predictor.device), fused=False) for part in parts(frames)]
    hands = DepthHands(
        **{f.name: torch.cat([getattr(part, f.name) for part in found]).cpu() for f in fields(DepthHands)}
    )
    return FramePredictions(predictor, keypoints_of(predictor, frames, hands), hands)


def parts(batch: Observation, size: int = _PART) -> Iterator[Observation]:
    """A batch cut into smaller ones."""
    for start in range(0, len(batch), size):
        yield batch[start : start + size]
