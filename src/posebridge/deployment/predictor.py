"""From a trained network to keypoints: of batches of crops, in the pixels of the files that they were cut from."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posebridge.cameras.crop import inverse_map
from posebridge.cameras.pinhole import apply_affine
from posebridge.cameras.view_correction import from_view, view_axes
from posebridge.contracts.batch import Observation
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.crops import batch_of
from posebridge.data.growing_tensor import GrowingTensor
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.model_spec import CropPoseSpec, ModelSpec, skeleton_of
from posebridge.errors import InputError
from posebridge.networks.pose_network import PoseNetwork, PoseOutput
from posebridge.representations.depth_image import depth_image
from posebridge.representations.pose25d import lift, lift_from_cube, lift_weak_perspective
from posebridge.skeletons.skeleton import Skeleton

_PREDICTED = ("uv_px", "xyz_mm", "confidence")  # arrays of predicted keypoints


@runtime_checkable
class Predictor(Protocol):
    """What the predictors of all kinds of model offer."""

    @property
    def spec(self) -> ModelSpec:
        """What the model takes and predicts."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the J joints, in their order."""
        ...

    def on_device(self, device: torch.device | str) -> Self:
        """The same predictor with its network moved to a device."""
        ...

    def predict_batch(self, batch: Observation) -> KeypointSet:
        """Keypoints of a batch on any device, in pixels of the files as they lie on disk.

        ``xyz_mm`` is None where nothing is known in millimetres.
        Raises ``InputError`` for a batch of what the model doesn't read.
        """
        ...


@dataclass(frozen=True)
class PosePredictor:
    """Predicts with a network of single crops."""

    spec: CropPoseSpec
    network: PoseNetwork

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the J joints, in their order."""
        return skeleton_of(self.spec).joints

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton whose joints are predicted."""
        return skeleton_of(self.spec)

    @property
    def size_px(self) -> int:
        """Side of the square crops."""
        return self.spec.size_px

    @property
    def least_confidence(self) -> float | None:
        """Mean confidence of the joints, below which a crop shows no subject; None: not known."""
        return self.spec.least_confidence

    def on_device(self, device: torch.device | str) -> "PosePredictor":
        """The same predictor with its network moved to a device."""
        return replace(self, network=self.network.to(device))

    @torch.inference_mode()
    def poses(self, batch: Observation) -> PoseOutput:
        """The network's output for a batch on its device, in pixels of the crops, with ``joints_m``.

        Joints are in the camera frame where the batch has intrinsics or a cube; otherwise relative to the root, with
        the axes of the file. Joints that the network predicts in metres are relative to the root in both cases, with
        the axes of the camera where it is known. They are None where neither network nor spec gives a length.
        Raises ``InputError`` for a batch of what the model doesn't read, and for output that is not finite.
        """
        output = self.network.predict(self._images(batch))
        check_finite(batch.key, output.uv_px, output.relative_depth, output.joints_m)
        return replace(output, joints_m=self._joints_m(batch, output))

    def predict_batch(self, batch: Observation) -> KeypointSet:
        """Keypoints of a batch on any device, in pixels of the files as they lie on disk.

        ``xyz_mm`` is None where nothing is known in millimetres.
        Raises ``InputError`` for a batch of what the model doesn't read.
        """
        output = self.poses(batch.to(self.device))
        joints_m = output.joints_m
        return KeypointSet(
            key=np.array(batch.key),
            joint_names=self.joint_names,
            uv_px=file_pixels(output.uv_px.cpu(), batch.T_crop_file).numpy(),
            xyz_mm=None if joints_m is None else 1000 * joints_m.cpu().numpy(),
            confidence=output.confidence.cpu().numpy(),
        )

    def predict_crops(self, crops: ImageCrops) -> KeypointSet:
        """Keypoints of colour crops in pixels of the files, as ``predict_batch``."""
        return self.predict_batch(batch_of(crops))

    def _images(self, batch: Observation) -> Tensor:
        """What the network takes: the colours, or the depth within the cube."""
        cube_m = self.network.cube_m
        if batch.image is not None:
            return batch.image
        if cube_m is None:
            raise InputError(f"{batch.key[0]} is a depth image, and this model reads colour images")
        if batch.depth_m is None or batch.centre_m is None:
            raise InputError(f"{batch.key[0]}: this model reads depth crops with the centre of their cube")
        return depth_image(batch.depth_m, batch.centre_m, cube_m)

    def _joints_m(self, batch: Observation, output: PoseOutput) -> Float[Tensor, "B J 3"] | None:
        if output.joints_m is not None:
            if self.network.view_corrected and batch.camera is not None:
                height_px, width_px = batch.rgb.shape[-2:]
                return from_view(output.joints_m, view_axes(batch.camera, height_px, width_px))
            return file_axes(output.joints_m, batch.T_crop_file)
        skeleton, uv_px, depth = skeleton_of(self.spec), output.uv_px, output.relative_depth
        if depth is None:
            return None
        if self.network.cube_m is not None:
            if batch.camera is None or batch.centre_m is None:
                raise InputError(f"{batch.key[0]}: poses in a cube need the camera's intrinsics and the cube's centre")
            return lift_from_cube(uv_px, depth, batch.camera, batch.centre_m, self.network.cube_m)
        if self.spec.reference_length_m is None:
            return None
        length_m = uv_px.new_full((len(uv_px),), self.spec.reference_length_m)
        if batch.camera is not None:
            return lift(uv_px, depth, batch.camera, skeleton, length_m)[0]
        # Lifted in pixels of the file, so that a mirrored or turned crop gives an upright, unmirrored pose.
        uv_file = file_pixels(uv_px, batch.T_crop_file)
        return lift_weak_perspective(uv_file, depth, skeleton, length_m)[0]


def check_finite(key: Sequence[str], *outputs: Tensor | None) -> None:
    """Raise ``InputError`` that names the first of B frames with NaN or infinity in an output (B, ...)."""
    for output in outputs:
        if output is not None and not output.isfinite().all():
            first = int((~output.isfinite()).flatten(1).any(1).nonzero()[0])
            raise InputError(f"{key[first]}: the network's output is not finite: train the model again")


def file_pixels(uv_px: Float[Tensor, "B J 2"], T_crop_file: Float[Tensor, "B 3 3"] | None) -> Float[Tensor, "B J 2"]:
    """Pixels of crops as pixels of the files that they were cut from."""
    if T_crop_file is None:
        return uv_px
    return apply_affine(inverse_map(T_crop_file.double()).to(uv_px), uv_px)


def file_axes(joints_m: Float[Tensor, "B J 3"], T_crop_file: Float[Tensor, "B 3 3"] | None) -> Float[Tensor, "B J 3"]:
    """Joints with the axes of crops as joints with the axes of the files: mirror images and turns are undone."""
    if T_crop_file is None:
        return joints_m
    A = T_crop_file[:, :2, :2]
    turn = A / torch.linalg.det(A).abs().sqrt()[:, None, None]  # a crop scales alike in both directions
    return torch.cat([joints_m[..., :2] @ turn, joints_m[..., 2:]], dim=-1)  # its inverse is its transpose


def predict_all(
    predictor: Predictor, batches: Iterable[Observation], on_progress: Callable[[int], None] = lambda count: None
) -> KeypointSet:
    """Keypoints of all batches, in the pixels of the files. ``on_progress`` is given the size of each batch.

    They are copied into large blocks: small arrays that outlive their batches would leave gaps between these, which no
    later batch fits into.
    """
    keys: list[str] = []
    grown: dict[str, GrowingTensor] = {}
    for batch in batches:
        part = predictor.predict_batch(batch)
        keys += part.key.tolist()
        for name in _PREDICTED:
            if (array := getattr(part, name)) is not None:
                values = torch.from_numpy(array)
                grown.setdefault(name, GrowingTensor(values)).append(values)
        on_progress(len(batch))
    arrays = {name: values.join().numpy() for name, values in grown.items()}
    return KeypointSet(np.array(keys), predictor.joint_names, **arrays)
