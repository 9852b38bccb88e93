"""Predictors of colour crops, by the file of their model: PyTorch for a run or a model, ONNX Runtime for ``.onnx``.

Imports neither torch nor ONNX Runtime before a model needs it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.image_crops import ImageCrops
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

ONNX_SUFFIX = ".onnx"


class CropPredictor(Protocol):
    """Predicts keypoints of colour crops. Predictors can be pickled for worker processes."""

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton whose joints are predicted."""
        ...

    @property
    def size_px(self) -> int:
        """Side of the square crops."""
        ...

    @property
    def least_confidence(self) -> float | None:
        """Mean confidence of the joints, below which a crop shows no subject; None: not known."""
        ...

    def predict_crops(self, crops: ImageCrops) -> KeypointSet:
        """Keypoints in pixels of the files as they lie on disk, with confidence.

        ``xyz_mm`` is None where nothing is known in millimetres. Raises ``InputError`` for output that is not finite.
        """
        ...


@dataclass(frozen=True)
class WrappedPredictor:
    """Base of predictors around another one, whose crops they take."""

    predictor: CropPredictor

    @property
    def size_px(self) -> int:
        """Side of the square crops."""
        return self.predictor.size_px

    @property
    def least_confidence(self) -> float | None:
        """Mean confidence of the joints, below which a crop shows no subject; None: not known."""
        return self.predictor.least_confidence


def is_onnx(model: Path) -> bool:
    """Whether a model is a file for ONNX Runtime, by its name."""
    return model.suffix.lower() == ONNX_SUFFIX


def load_crop_predictor(model: Path, device: str = "auto", device_is_here: bool = True) -> CropPredictor:
    """The predictor of a run's folder, a model's folder or file, or an ONNX file.

    Args:
        model: the path.
        device: of PyTorch, see ``usable_device``; ONNX files run on the CPU.
        device_is_here: False: only the processes that predict have the device.

    Raises ``InputError`` for a missing or damaged model, one that reads depth, and a device that isn't there.
    """
    if is_onnx(model):
        from posebridge.deployment.onnx_model import OnnxModel

        if device not in ("auto", "cpu"):
            raise InputError(f"ONNX files run on the CPU, not on {device}: leave the device out")
        return OnnxModel.load(model)
    from posebridge.deployment.torch_crops import load_torch_predictor

    return load_torch_predictor(model, device, device_is_here)
