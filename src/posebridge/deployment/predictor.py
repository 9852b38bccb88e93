"""From a trained network to poses: on batches, and on whole targets in the pixels of their files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.prediction import Prediction
from posebridge.deployment.model_file import ModelSpec, skeleton_of
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose25d import lift, lift_weak_perspective


@dataclass(frozen=True)
class Predictor:
    """A network with all that is needed to read it."""

    spec: ModelSpec
    network: PoseResNet

    @torch.inference_mode()
    def __call__(self, batch: Observation) -> Prediction:
        """Poses of a batch of crops."""
        if batch.image is None:
            raise ValueError("this model reads colour images")
        heat, depth = self.network(batch.image)
        pose = self.spec.maps.read(heat.float(), depth.float())
        uv_px = image_from_map(pose.uv_map, tuple(batch.image.shape[-2:]), tuple(heat.shape[-2:]))
        joints_m = self._joints(batch, uv_px, pose.relative_depth)
        return Prediction(uv_px, pose.confidence, pose.relative_depth, joints_m)

    def _joints(self, batch: Observation, uv_px: Tensor, depth: Tensor) -> Tensor:
        """Joints in the camera frame where the camera is known, else relative to the root; upright either way."""
        skeleton = skeleton_of(self.spec)
        length_m = uv_px.new_full((len(uv_px),), self.spec.reference_length_m or 1.0)
        if batch.camera is not None:
            return lift(uv_px, depth, batch.camera, skeleton, length_m)[0]
        # Read in the file's own orientation, so that a mirrored or turned crop gives an upright, unmirrored pose.
        uv_file = file_pixels(uv_px, batch.T_crop_file)
        return lift_weak_perspective(uv_file, depth, skeleton, length_m)[0]


def file_pixels(uv_px: Tensor, T_crop_file: Tensor | None) -> Tensor:
    """Pixels of crops as pixels of the files that they were cut from."""
    if T_crop_file is None:
        return uv_px
    return apply_affine(torch.linalg.inv(T_crop_file.double()).to(uv_px), uv_px)


def predict_all(
    predictor: Predictor, batches: Iterable[Observation], told: Callable[[int], None] = lambda count: None
) -> KeypointSet:
    """Predictions for every frame of a target, in the pixels of the files as they lie on disk.

    ``told`` hears how many frames each batch had, for progress.
    """
    keys: list[str] = []
    uv, xyz, confidence = [], [], []
    device = next(predictor.network.parameters()).device
    for batch in batches:
        prediction = predictor(batch.to(device))
        keys += batch.key
        uv.append(file_pixels(prediction.uv_px.cpu(), batch.T_crop_file).numpy())
        confidence.append(prediction.confidence.cpu().numpy())
        if prediction.joints_m is not None:
            xyz.append(1000 * prediction.joints_m.cpu().numpy())
        told(len(batch))
    return KeypointSet(
        key=np.array(keys),
        joint_names=skeleton_of(predictor.spec).joints,
        uv_px=np.concatenate(uv),
        xyz_mm=np.concatenate(xyz) if xyz else None,
        confidence=np.concatenate(confidence),
    )
