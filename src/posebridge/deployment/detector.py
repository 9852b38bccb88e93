"""A detector of hands and people: whole images in, boxes with confidence and handedness out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from posebridge.cameras.pixel_maps import apply_map, resize_map
from posebridge.contracts.subjects import SUBJECT_KINDS, SubjectKind
from posebridge.data.frames import SIDES, Side
from posebridge.deployment.detections import Detections, suppressed
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DETECTOR
from posebridge.deployment.model_spec import DetectorSpec
from posebridge.errors import InputError
from posebridge.networks.detector import STRIDE, DetectorNetwork
from posebridge.representations.centre_maps import CentreMaps

_MULTIPLE_PX = 32  # of the sides of the network's input: its deepest stride
_FILL = 115  # grey that the network's normalisation turns into zero
_PEAKS = 40  # of an image, before the threshold


@dataclass(frozen=True)
class DetectOptions:
    """Which detections are returned. Raises ``InputError`` for numbers out of range."""

    kind: SubjectKind = "hand"
    least_confidence: float = 0.3
    largest_iou: float = 0.6  # of two detections; above it they are one subject
    most: int | None = None  # detections of an image, the most confident ones

    def __post_init__(self):
        for name in ("least_confidence", "largest_iou"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"{name} {value} is impossible: give a number from 0 to 1")
        if self.most is not None and self.most < 1:
            raise InputError(f"most {self.most} is impossible: give 1 or more detections of an image")


class Detector:
    """Finds subjects of one kind in whole images."""

    def __init__(self, spec: DetectorSpec, network: DetectorNetwork, options: DetectOptions | None = None):
        """``network`` is used as it is, in evaluation mode, on the device that it is on."""
        self.spec = spec
        self.network = _fused(network)
        self.options = options or DetectOptions()
        self._maps = CentreMaps(STRIDE)

    @classmethod
    def load(cls, path: str | Path, options: DetectOptions | None = None, device: str | torch.device = "cpu") -> Self:
        """The detector in a model's folder. Raises ``InputError`` for a missing, broken or other model."""
        loaded = load_model(Path(path), DETECTOR)
        return cls(loaded.spec, loaded.network.to(device), options)

    def detect(self, image: np.ndarray) -> Detections:
        """The subjects of an upright RGB image (H, W, 3) of uint8. Raises ``InputError`` for another array."""
        return self.detect_batch([image])[0]

    @torch.inference_mode()
    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The subjects of each image (H, W, 3) of uint8; images of one size are processed together.

        Raises ``InputError`` for an array that is no RGB image.
        """
        inputs = [network_input(_checked(image), self.spec.size_px) for image in images]
        found: list[Detections | None] = [None] * len(inputs)
        for shape in {tensor.shape for tensor, _ in inputs}:
            places = [i for i, (tensor, _) in enumerate(inputs) if tensor.shape == shape]
            batch = torch.stack([inputs[i][0] for i in places])
            for i, detections in zip(places, self._detected(batch, [inputs[i][1] for i in places]), strict=True):
                found[i] = detections
        return [detections for detections in found if detections is not None]

    def _detected(self, batch: Tensor, T_input_image: list[np.ndarray]) -> list[Detections]:
        device = next(self.network.parameters()).device
        pixels = batch.to(device).permute(0, 3, 1, 2).float() / 255
        maps = self.network.maps(self.network(pixels))
        kind = SUBJECT_KINDS.index(self.options.kind)
        heat, distances = (m[:, kind : kind + 1] for m in (maps.centre_logits.sigmoid(), maps.distances_px))
        peaks = self._maps.peaks(heat, distances, maps.right_logits.sigmoid(), _PEAKS)
        return [
            self._in_image(score, boxes, right, T)
            for score, boxes, right, T in zip(
                *(value.cpu().numpy() for value in (peaks.score, peaks.box_xyxy, peaks.right)),
                T_input_image,
                strict=True,
            )
        ]

    def _in_image(self, score: np.ndarray, boxes: np.ndarray, right: np.ndarray, T: np.ndarray) -> Detections:
        """Peaks of one input as detections in pixels of its image."""
        chosen = score >= self.options.least_confidence
        corners = apply_map(np.linalg.inv(T), boxes[chosen].reshape(-1, 2, 2).astype(np.float64))
        hands = self.options.kind == "hand"
        sides: tuple[Side | None, ...] = tuple(SIDES[int(value >= 0.5)] if hands else None for value in right[chosen])
        kept = suppressed(
            Detections(corners.reshape(-1, 4), score[chosen].astype(np.float64), sides), self.options.largest_iou
        )
        return kept if self.options.most is None else kept.take(np.arange(min(len(kept), self.options.most)))


def network_input(image: UInt8[np.ndarray, "H W 3"], size_px: int) -> tuple[UInt8[Tensor, "h w 3"], np.ndarray]:
    """The image with its longer side at ``size_px``, filled up to multiples of 32 pixels, and T_input_image (3, 3)."""
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    new_width, new_height = (max(1, round(side * scale)) for side in (width, height))
    smaller = scale < 1
    resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    filled = np.full((_rounded_up(new_height), _rounded_up(new_width), 3), _FILL, np.uint8)
    filled[:new_height, :new_width] = resized
    return torch.from_numpy(filled), resize_map(new_width / width, new_height / height)


def _rounded_up(side_px: int) -> int:
    return -(-side_px // _MULTIPLE_PX) * _MULTIPLE_PX


def _checked(image: np.ndarray) -> np.ndarray:
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"a detector takes an RGB image (H, W, 3) of uint8, not {found}")
    if min(image.shape[:2]) < 1:
        raise InputError("a detector takes images of at least one pixel")
    return image


def _fused(network: DetectorNetwork) -> DetectorNetwork:
    """The network in evaluation mode, batch norms merged into their convolutions, which saves time on CPUs."""
    network.eval()
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) >= 2:
            convolution, norm = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return network.to(memory_format=torch.channels_last)
