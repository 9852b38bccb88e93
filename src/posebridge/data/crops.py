"""From a frame on disk to what a network sees: a square crop in which every hand is a right one."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from posebridge.cameras.crop import crop_map, warp_array, whole_image_box
from posebridge.cameras.pinhole import Camera, apply_affine
from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.data.frames import FrameLabels, FrameSource, LabelledFrames, RawFrame
from posebridge.errors import InputError


@dataclass(frozen=True)
class CropConfig:
    """How frames are cut."""

    size_px: int = 256
    padding: float = 1.0  # the square's side over the box's larger side; a whole image is never padded
    # Left hands are mirrored, so that networks see right hands only. None: nothing is mirrored (bodies).
    hand: Literal["left", "right", "annotated"] | None = None


def crop_frame(frame: RawFrame, config: CropConfig) -> UnlabelledBatch:
    """A batch of one. Without a box, the letterboxed square around the image's centre.

    Raises ``InputError`` where handedness is to come from the annotation and the frame has none.
    """
    height, width = frame.shape
    if frame.box_xyxy is None:
        box, padding = whole_image_box(width, height), 1.0
    else:
        box, padding = torch.as_tensor(frame.box_xyxy, dtype=torch.float64)[None], config.padding
    T_crop_file = crop_map(box, config.size_px, padding, _mirrored(frame, config))
    size = (config.size_px, config.size_px)
    image = depth_m = None
    if frame.image is not None:
        image = torch.from_numpy(warp_array(frame.image, T_crop_file[0].numpy(), *size))
    if frame.depth_m is not None:
        depth_m = torch.from_numpy(warp_array(frame.depth_m, T_crop_file[0].numpy(), *size, interpolation="nearest"))
    return UnlabelledBatch(
        image=None if image is None else image.permute(2, 0, 1)[None].float() / 255,
        key=(frame.key,),
        camera=_crop_camera(frame, T_crop_file),
        T_crop_file=T_crop_file.float(),
        sequence=(frame.sequence,),
        frame=torch.tensor([frame.frame]),
        view=torch.tensor([frame.view]),
        depth_m=None if depth_m is None else depth_m[None],
        T_world_cam=_single(frame.T_world_cam),
        centre_m=_single(frame.centre_m),
    )


def _crop_camera(frame: RawFrame, T_crop_file: Tensor) -> Camera | None:
    """The lens of the file with the crop folded into its intrinsics."""
    if frame.K is None:
        return None
    return Camera((T_crop_file @ _double(frame.K)[None]).float(), _single(frame.distortion))


def crop_labelled(frame: RawFrame, labels: FrameLabels, config: CropConfig) -> LabelledBatch:
    """A batch of one with its labels. Pixels move with the crop; metres stay in the frame of the camera.

    A joint outside the crop is not visible in it.
    """
    observation = crop_frame(frame, config)
    assert observation.T_crop_file is not None
    uv_px = apply_affine(observation.T_crop_file.double(), _double(labels.uv_px)[None]).float()
    inside = ((uv_px >= -0.5) & (uv_px <= config.size_px - 0.5)).all(dim=-1)
    mask = None
    if labels.mask is not None:
        T = observation.T_crop_file[0].double().numpy()
        size = (config.size_px, config.size_px)
        mask = torch.from_numpy(warp_array(labels.mask.astype(np.uint8), T, *size, interpolation="nearest") > 0)
    return LabelledBatch(
        **{f.name: getattr(observation, f.name) for f in fields(Observation)},
        uv_px=uv_px,
        valid=torch.from_numpy(labels.valid)[None],
        visible=torch.from_numpy(labels.visible)[None] & inside,
        joints_m=_single(labels.joints_m),
        mask=None if mask is None else mask[None],
        vertices_m=_single(labels.vertices_m),
    )


class UnlabelledCrops(Dataset[UnlabelledBatch]):
    """Crops of indexed frames, one a batch; the reader's labels, if it has any, are never asked for."""

    def __init__(self, frames: FrameSource, config: CropConfig):
        self.frames = frames
        self.config = config

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> UnlabelledBatch:
        """Raises ``UnreadableFrameError`` where the frame's file is broken."""
        return crop_frame(self.frames[index], self.config)


class LabelledCrops(Dataset[LabelledBatch]):
    """Crops of labelled frames, one a batch: a labelled source, or truth to measure by."""

    def __init__(self, frames: LabelledFrames, config: CropConfig):
        self.frames = frames
        self.config = config

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> LabelledBatch:
        """Raises ``UnreadableFrameError`` where the frame's file is broken."""
        return crop_labelled(self.frames[index], self.frames.labels(index), self.config)


def _mirrored(frame: RawFrame, config: CropConfig) -> bool:
    if config.hand != "annotated":
        return config.hand == "left"
    if frame.hand is None:
        raise InputError(f"{frame.key}: nothing tells which hand this is; say left or right for all frames")
    return frame.hand == "left"


def _double(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float64)


def _single(array: np.ndarray | None) -> Tensor | None:
    """A batch of one, in single precision."""
    return None if array is None else _double(array).float()[None]
