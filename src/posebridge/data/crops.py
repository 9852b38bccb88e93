"""From a frame on disk to what a network sees: a square crop in which every hand is a right one.

Colour images are cut around a box of pixels, depth frames around a cube of metres.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from posebridge.cameras.cube import cube_crop_map
from posebridge.cameras.pinhole import Camera, apply_affine
from posebridge.cameras.pixel_maps import flip_map, warp_array
from posebridge.contracts.batch import LabelledBatch, Observation, UnlabelledBatch
from posebridge.contracts.names import normal_name
from posebridge.data.frames import FrameLabels, FrameSource, LabelledFrames, RawFrame
from posebridge.data.image_crops import CropConfig, HandOption, ImageCrops, frame_crop_map, is_mirrored
from posebridge.errors import InputError


@dataclass(frozen=True)
class CubeCropConfig:
    """How depth frames are cut: to a cube around the frame's ``centre_m``."""

    size_px: int = 128
    cube_m: float = 0.25  # NYU's and BigHand's hands; the literature takes 0.2 for ICVL's and MSRA's smaller ones
    hand: HandOption = None  # as in ``CropConfig``


def crop_frame(frame: RawFrame, config: CropConfig) -> UnlabelledBatch:
    """A batch of one of the frame's colour image, or of its depth where it has no image, upright.

    Raises ``InputError`` as ``frame_crop_map`` does.
    """
    T_crop_file = frame_crop_map(frame, config)
    if frame.image is None:
        return _cut(frame, T_crop_file, depth_m=_warped_depth(frame, T_crop_file, config.size_px))
    pixels = warp_array(frame.image, T_crop_file, config.size_px, config.size_px)
    return _cut(frame, T_crop_file, image=_network_image(pixels[None]))


def crop_frames(frames: Iterable[RawFrame], config: CropConfig) -> Iterator[tuple[RawFrame, UnlabelledBatch]]:
    """Each frame with its crop, a batch of one."""
    return ((frame, crop_frame(frame, config)) for frame in frames)


def batch_of(crops: ImageCrops) -> UnlabelledBatch:
    """Crops as a batch, whose pixels are those that ``crop_frame`` returns."""
    camera = None if crops.K is None else Camera(_crop_intrinsics(crops.T_crop_file, crops.K))
    return UnlabelledBatch(_network_image(crops.pixels), crops.key, camera, _double(crops.T_crop_file).float())


def _network_image(pixels: np.ndarray) -> Tensor:
    """(B, 3, S, S) in [0, 1] of crops (B, S, S, 3) uint8."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def crop_labelled(frame: RawFrame, labels: FrameLabels, config: CropConfig) -> LabelledBatch:
    """A batch of one with its labels, of which depth beside a colour image is one.

    Pixels follow the crop; metres stay in the frame of the camera. A joint outside the crop is not visible in it.
    """
    crop = _with_labels(crop_frame(frame, config), labels, config.size_px)
    if frame.image is None or frame.depth_m is None:
        return crop
    assert crop.T_crop_file is not None
    return replace(crop, depth_label_m=_warped_depth(frame, crop.T_crop_file[0].double().numpy(), config.size_px))


def crop_cube(frame: RawFrame, config: CubeCropConfig) -> UnlabelledBatch:
    """A batch of one of the frame's depth: the cross-section of the cube around ``centre_m``, see ``cameras.cube``.

    Depth stays in metres, also in front of the cube and behind it: ``normalise_depth`` clips it. Each pixel takes the
    nearest one of the file, since a mean across an edge is a depth at which there is nothing.
    Raises ``InputError`` for a frame without depth, intrinsics or centre, and for a centre behind the camera.
    """
    if frame.depth_m is None or frame.K is None:
        missing = "depth" if frame.depth_m is None else "intrinsics"
        raise InputError(
            f"{frame.key}: a cube is cut from depth with known intrinsics, and this frame has no {missing}"
        )
    if frame.centre_m is None:
        raise InputError(
            f"{frame.key}: the centre of the hand's cube is unknown; give the reader centres='blob', 'labels' or a file"
        )
    try:
        T_crop_file = cube_crop_map(
            _double(frame.centre_m)[None], _double(frame.K)[None], config.cube_m, config.size_px
        )[0].numpy()
    except ValueError as error:
        raise InputError(f"{frame.key}: centre {np.round(frame.centre_m, 4).tolist()} m: {error}") from None
    if is_mirrored(frame, config.hand):
        T_crop_file = flip_map(config.size_px) @ T_crop_file
    return _cut(frame, T_crop_file, depth_m=_warped_depth(frame, T_crop_file, config.size_px))


def crop_cube_labelled(frame: RawFrame, labels: FrameLabels, config: CubeCropConfig) -> LabelledBatch:
    """``crop_cube`` with labels, as ``crop_labelled`` has them: metres stay in the frame of the camera."""
    return _with_labels(crop_cube(frame, config), labels, config.size_px)


def _warped_depth(frame: RawFrame, T_crop_file: np.ndarray, size_px: int) -> Tensor:
    """(1, H, W) metres, 0 where the sensor measured nothing."""
    assert frame.depth_m is not None
    nearest = warp_array(frame.depth_m, T_crop_file, size_px, size_px, interpolation="nearest")
    # Some sensors write NaN where they measured nothing.
    return torch.from_numpy(nearest.astype(np.float32)).nan_to_num(0, 0, 0)[None]


def warped_mask(
    mask: Bool[np.ndarray, "H W"] | None, T_crop_file: Float[Tensor, "1 3 3"], size_px: int
) -> Bool[Tensor, "1 S S"] | None:
    """A mask of the file's pixels in the crop, by the nearest pixel; False outside the file. None stays None."""
    if mask is None:
        return None
    T = T_crop_file[0].double().numpy()
    return torch.from_numpy(warp_array(mask.astype(np.uint8), T, size_px, size_px, interpolation="nearest") > 0)[None]


def _cut(
    frame: RawFrame, T_crop_file: np.ndarray, image: Tensor | None = None, depth_m: Tensor | None = None
) -> UnlabelledBatch:
    """The crop of one sensor's pixels, with what the frame has beside them."""
    return UnlabelledBatch(
        image=image,
        key=(normal_name(frame.key),),
        camera=_crop_camera(frame, T_crop_file),
        T_crop_file=_single(T_crop_file),
        sequence=(frame.sequence,),
        frame=torch.tensor([frame.frame]),
        view=torch.tensor([frame.view]),
        depth_m=depth_m,
        T_world_cam=_single(frame.T_world_cam),
        centre_m=None if depth_m is None else _single(frame.centre_m),
    )


def _crop_camera(frame: RawFrame, T_crop_file: np.ndarray) -> Camera | None:
    """The camera of the file, with the crop applied to its intrinsics."""
    if frame.K is None:
        return None
    return Camera(_crop_intrinsics(T_crop_file[None], frame.K[None]), _single(frame.distortion))


def _crop_intrinsics(T_crop_file: np.ndarray, K: np.ndarray) -> Tensor:
    """(B, 3, 3) intrinsics of crops in single precision, from maps and intrinsics of files (B, 3, 3) in double."""
    return (_double(T_crop_file) @ _double(K)).float()


def _with_labels(observation: UnlabelledBatch, labels: FrameLabels, size_px: int) -> LabelledBatch:
    assert observation.T_crop_file is not None
    uv_px = apply_affine(observation.T_crop_file.double(), _double(labels.uv_px)[None]).float()
    inside = ((uv_px >= -0.5) & (uv_px <= size_px - 0.5)).all(dim=-1)
    return LabelledBatch(
        **{f.name: getattr(observation, f.name) for f in fields(Observation)},
        uv_px=uv_px,
        valid=torch.from_numpy(labels.valid)[None],
        visible=torch.from_numpy(labels.visible)[None] & inside,
        joints_m=_single(labels.joints_m),
        mask=warped_mask(labels.mask, observation.T_crop_file, size_px),
        hand_mask=warped_mask(labels.hand_mask, observation.T_crop_file, size_px),
        vertices_m=_single(labels.vertices_m),
    )


class UnlabelledCrops(Dataset[UnlabelledBatch]):
    """Crops of indexed frames, one a batch; labels of the reader are never read."""

    def __init__(self, frames: FrameSource, config: CropConfig | CubeCropConfig):
        self.frames = frames
        self.config = config

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> UnlabelledBatch:
        """Raises ``UnreadableFrameError`` where the frame's file is broken."""
        frame = self.frames[index]
        if isinstance(self.config, CubeCropConfig):
            return crop_cube(frame, self.config)
        return crop_frame(frame, self.config)


class LabelledCrops(Dataset[LabelledBatch]):
    """Crops of labelled frames, one a batch: a labelled source, or truth to measure by."""

    def __init__(self, frames: LabelledFrames, config: CropConfig | CubeCropConfig):
        self.frames = frames
        self.config = config

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> LabelledBatch:
        """Raises ``UnreadableFrameError`` where the frame's file is broken."""
        frame, labels = self.frames[index], self.frames.labels(index)
        if isinstance(self.config, CubeCropConfig):
            return crop_cube_labelled(frame, labels, self.config)
        return crop_labelled(frame, labels, self.config)


def _double(array: np.ndarray) -> Tensor:
    return torch.as_tensor(array, dtype=torch.float64)


def _single(array: np.ndarray | None) -> Tensor | None:
    """A batch of one, in single precision."""
    return None if array is None else _double(array).float()[None]
