"""The predictions of one model for frames in memory; of a depth hand model with its meshes."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from posebridge.contracts.batch import BatchT, Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment.depth_predictor import DepthHandPredictor, DepthHands, keypoints_of
from posebridge.deployment.predictor import Predictor, predict_all
from posebridge.skeletons.dataset_joints import joint_weights
from posebridge.skeletons.skeleton import Skeleton

_PART = 64


@dataclass(frozen=True)
class FramePredictions:
    """Keypoints in pixels of the files, or of the frames where they come from none."""

    predictor: Predictor
    keypoints: KeypointSet
    hands: DepthHands | None = None  # of a depth hand model, each frame predicted by itself


def predict_frames(predictor: Predictor, frames: InMemoryDataset[BatchT]) -> FramePredictions:
    """Predict frames, each by itself."""
    if not isinstance(predictor, DepthHandPredictor):
        return FramePredictions(predictor, predict_all(predictor, frames.batches(_PART)))
    found = [predictor(part.to(predictor.device), fused=False) for part in frames.batches(_PART)]
    hands = DepthHands(
        **{f.name: torch.cat([getattr(part, f.name) for part in found]).cpu() for f in fields(DepthHands)}
    )
    return FramePredictions(predictor, keypoints_of(predictor, frames.without_images(), hands), hands)


def keypoints_as(skeleton: Skeleton, predictions: FramePredictions, frames: Observation) -> KeypointSet:
    """Predictions of joints of ``HAND21`` as the joints of another skeleton of hands, for the same frames.

    With meshes, the joints are those of a ``JointMap``. Without, they are weighted means of the predicted joints
    (``joint_weights``), in space and in the image; finger tips are then ``HAND21``'s for every skeleton.
    """
    if predictions.hands is not None:
        assert isinstance(predictions.predictor, DepthHandPredictor)
        predictor = replace(predictions.predictor, skeleton=skeleton)
        return keypoints_of(predictor, frames, predictor.with_output_joints(predictions.hands))
    found, weights = predictions.keypoints, joint_weights(skeleton)

    def means(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.einsum("kj,njc->nkc", weights, array)

    return KeypointSet(found.key, skeleton.joints, uv_px=means(found.uv_px), xyz_mm=means(found.xyz_mm))
