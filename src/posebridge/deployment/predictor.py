"""From a trained network to poses: on batches, and on whole targets in the pixels of their files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posebridge.cameras.pinhole import apply_affine
from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.prediction import Prediction
from posebridge.deployment.model_file import ModelSpec, skeleton_of
from posebridge.errors import InputError
from posebridge.networks.pose_resnet import PoseResNet
from posebridge.representations.depth_image import depth_image
from posebridge.representations.heatmaps import image_from_map
from posebridge.representations.pose25d import lift, lift_from_cube, lift_weak_perspective


@dataclass(frozen=True)
class Predictor:
    """A network with all that is needed to read it."""

    spec: ModelSpec
    network: PoseResNet

    @torch.inference_mode()
    def __call__(self, batch: Observation) -> Prediction:
        """Poses of a batch of crops."""
        image = self._image(batch)
        heat, depth = self.network(image)
        pose = self.spec.maps.read(heat.float(), depth.float())
        image_height, image_width = image.shape[-2:]
        map_height, map_width = heat.shape[-2:]
        uv_px = image_from_map(pose.uv_map, (image_height, image_width), (map_height, map_width))
        joints_m = self._joints(batch, uv_px, pose.relative_depth)
        return Prediction(uv_px, pose.confidence, pose.relative_depth, joints_m)

    def _image(self, batch: Observation) -> Tensor:
        """What the network sees: the colours, or the depth within the cube."""
        cube_m = self.spec.maps.cube_m
        if batch.image is not None:
            return batch.image
        if cube_m is None:
            raise InputError(f"{batch.key[0]} is a depth image, and this model reads colour images")
        if batch.depth_m is None or batch.centre_m is None:
            raise InputError(f"{batch.key[0]}: this model reads depth crops with the centre of their cube")
        return depth_image(batch.depth_m, batch.centre_m, cube_m)

    def _joints(self, batch: Observation, uv_px: Tensor, depth: Tensor) -> Tensor:
        """Joints in the camera frame where the camera is known, else relative to the root; upright either way."""
        skeleton, cube_m = skeleton_of(self.spec), self.spec.maps.cube_m
        if cube_m is not None:
            if batch.camera is None or batch.centre_m is None:
                raise InputError(f"{batch.key[0]}: poses in a cube need the camera's intrinsics and the cube's centre")
            return lift_from_cube(uv_px, depth, batch.camera, batch.centre_m, cube_m)
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


def predict_batch(predictor: Predictor, batch: Observation) -> KeypointSet:
    """Predictions for a batch, in the pixels of the files as they lie on disk."""
    device = next(predictor.network.parameters()).device
    prediction = predictor(batch.to(device))
    joints_m = prediction.joints_m
    return KeypointSet(
        key=np.array(batch.key),
        joint_names=skeleton_of(predictor.spec).joints,
        uv_px=file_pixels(prediction.uv_px.cpu(), batch.T_crop_file).numpy(),
        xyz_mm=None if joints_m is None else 1000 * joints_m.cpu().numpy(),
        confidence=prediction.confidence.cpu().numpy(),
    )


def predict_all(
    predictor: Predictor, batches: Iterable[Observation], on_progress: Callable[[int], None] = lambda count: None
) -> KeypointSet:
    """Predictions for every frame of a target, in the pixels of the files as they lie on disk.

    ``on_progress`` is called with the number of frames of each batch.
    """
    parts: list[KeypointSet] = []
    for batch in batches:
        parts.append(predict_batch(predictor, batch))
        on_progress(len(batch))
    return join(parts)


def join(parts: Sequence[KeypointSet]) -> KeypointSet:
    """The predictions of one predictor for several batches as one set."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("key", "uv_px", "xyz_mm", "confidence")
        if getattr(parts[0], name) is not None
    }
    return KeypointSet(joint_names=parts[0].joint_names, **arrays)
