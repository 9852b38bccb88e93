"""Square crops of colour frames, in which every hand is a right one, as arrays of numpy. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from posebridge.cameras.pixel_maps import crop_map, full_image_box, mapped_box, upright_map, warp_array
from posebridge.contracts.names import normal_name
from posebridge.data.frames import RawFrame
from posebridge.errors import InputError

HandOption = Literal["left", "right", "annotated"] | None

_SMALLEST_CROP_PX, _LARGEST_CROP = 1e-2, 1e3  # the largest in units of the image's larger side


@dataclass(frozen=True)
class CropConfig:
    """How frames are cut."""

    size_px: int = 256
    # The square's side over the box's larger side: ``TargetConfig.padding`` of files. Boxes of datasets contain their
    # margin already, ``JOINT_BOX_PADDING``. A whole image is never padded.
    padding: float = 1.0
    # Left hands are mirrored, so that networks see right hands only. None: nothing is mirrored (bodies).
    hand: HandOption = None


@dataclass(frozen=True)
class ImageCrops:
    """Crops of B colour frames, each S x S pixels, upright."""

    key: tuple[str, ...]  # names of the frames in composed Unicode (NFC)
    pixels: UInt8[np.ndarray, "B S S 3"]  # RGB
    T_crop_file: Float[np.ndarray, "B 3 3"]  # pixels of the file -> pixels of the crop; may mirror
    K: Float[np.ndarray, "B 3 3"] | None = None  # intrinsics of the files' pixels, where they are known

    def __len__(self) -> int:
        return len(self.key)


def crop_images(frames: Sequence[RawFrame], config: CropConfig) -> ImageCrops:
    """Crops of the colour images of B frames.

    Raises ``InputError`` as ``frame_crop_map`` does and for a frame without a colour image, and ``ValueError`` where
    some of the frames have intrinsics, or one has lens distortion.
    """
    if any(frame.distortion is not None for frame in frames):
        raise ValueError("crops of files are cut without lens distortion")
    known = [frame.K for frame in frames if frame.K is not None]
    if known and len(known) < len(frames):
        raise ValueError("either all frames have intrinsics, or none")
    maps = [frame_crop_map(frame, config) for frame in frames]
    size = config.size_px
    pixels = [warp_array(frame.rgb, T, size, size) for frame, T in zip(frames, maps, strict=True)]
    keys = tuple(normal_name(frame.key) for frame in frames)
    return ImageCrops(keys, np.stack(pixels), np.stack(maps), np.stack(known) if known else None)


def frame_crop_map(frame: RawFrame, config: CropConfig) -> Float[np.ndarray, "3 3"]:
    """T_crop_file of a frame's upright crop around its box.

    Without a box, the crop is the letterboxed square around the image's centre. Raises ``InputError`` where the hand's
    side is to come from the annotation and the frame has none, and for a crop that can't show the image.
    """
    height, width = frame.shape
    if frame.box_xyxy is None:
        box, padding = full_image_box(width, height), 1.0
    else:
        box, padding = frame.box_xyxy, config.padding
    _check_side(frame, box, padding)
    T_upright_file = upright_map(width, height, frame.turn, frame.mirror)
    upright_box = mapped_box(box, T_upright_file)
    return crop_map(upright_box, config.size_px, padding, is_mirrored(frame, config.hand)) @ T_upright_file


def is_mirrored(frame: RawFrame, hand: HandOption) -> bool:
    """Whether a frame's crop is mirrored, since it shows a left hand.

    Raises ``InputError`` where the side is to come from the annotation and the frame has none.
    """
    if hand != "annotated":
        return hand == "left"
    if frame.hand is None:
        raise InputError(f"{frame.key}: the frame isn't labelled left or right; choose left or right for all frames")
    return frame.hand == "left"


def _check_side(frame: RawFrame, box_xyxy: np.ndarray, padding: float) -> None:
    """Raise ``InputError`` for a crop that is far smaller than a pixel or far larger than the image."""
    side_px = padding * float((box_xyxy[2:] - box_xyxy[:2]).max())
    if not _SMALLEST_CROP_PX <= side_px <= _LARGEST_CROP * max(frame.shape):
        height, width = frame.shape
        raise InputError(
            f"{frame.key}: the crop is {side_px:g} pixels wide, and the image {width}x{height}: check box and padding"
        )
