"""Prediction of colour crops by PyTorch, in any process."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.image_crops import ImageCrops
from posebridge.deployment.crop_predictor import WrappedPredictor
from posebridge.deployment.devices import usable_device
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import CROP_KINDS
from posebridge.deployment.predictor import PosePredictor
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton


@dataclass(frozen=True)
class TorchCropPredictor(WrappedPredictor):
    """Predicts on a device that is looked for in the process that predicts."""

    predictor: PosePredictor  # with its network on the CPU
    device: str

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton whose joints are predicted."""
        return self.predictor.skeleton

    @cached_property
    def _on_device(self) -> PosePredictor:
        return self.predictor.on_device(usable_device(self.device))

    def predict_crops(self, crops: ImageCrops) -> KeypointSet:
        """Keypoints in pixels of the files. Raises ``InputError`` where this process lacks the device."""
        return self._on_device.predict_crops(crops)


def load_torch_predictor(model: Path, device: str, device_is_here: bool) -> TorchCropPredictor:
    """See ``load_crop_predictor``."""
    if device_is_here:
        usable_device(device)
    loaded = load_model(model, *CROP_KINDS)
    if loaded.spec.cube_m is not None:
        raise InputError("the model reads depth crops, and the input is colour images: give depth, or another model")
    return TorchCropPredictor(PosePredictor(loaded.spec, loaded.network), device)
