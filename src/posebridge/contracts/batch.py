"""Input of networks: observations of a sensor, with or without labels.

A colour camera gives ``image``; a depth sensor gives ``depth_m``, from which an image of its cube may be made. Depth
of a colour crop is a label (``depth_label_m``). ``UnlabelledBatch`` has no label field, so a method that receives one
can't read a label of the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Literal, Self, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posebridge.cameras.pinhole import Camera

Sensor = Literal["colour", "depth"]


def _apply(value: Any, function) -> Any:
    """Apply ``function`` to a tensor or to the tensors of a camera; pass everything else through."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Camera):
        return Camera(function(value.K), None if value.distortion is None else function(value.distortion))
    return value


@dataclass(frozen=True)
class Observation:
    """Observations of a sensor, cropped to the subject. B images of H x W pixels.

    Raises ``ValueError`` for a colour image beside measured depth: one crop is of one sensor.
    """

    # RGB in [0, 1]; of a depth sensor None, or the picture of its cube for networks that take images.
    image: Float[Tensor, "B 3 H W"] | None
    key: tuple[str, ...]  # names a sample: file stem, with the frame number after it for videos
    camera: Camera | None = None  # intrinsics after the crop
    T_crop_file: Float[Tensor, "B 3 3"] | None = None  # pixels of the file -> pixels of this crop; may mirror
    sequence: tuple[str, ...] | None = None
    frame: Int[Tensor, "B"] | None = None
    view: Int[Tensor, "B"] | None = None
    depth_m: Float[Tensor, "B H W"] | None = None  # of a depth sensor; 0 where it measured nothing
    T_world_cam: Float[Tensor, "B 4 4"] | None = None  # calibrated views: camera -> the world that they share
    centre_m: Float[Tensor, "B 3"] | None = None  # camera frame: middle of the metric cube that a depth crop shows

    def __post_init__(self):
        if self.image is not None and self.depth_m is not None:
            raise ValueError("a batch is of one sensor: depth of a colour crop is a label, depth_label_m")

    @property
    def sensor(self) -> Sensor:
        """The sensor of the images. A crop with measured depth or with a metric cube is of a depth sensor."""
        return "colour" if self.depth_m is None and self.centre_m is None else "depth"

    def __len__(self) -> int:
        return len(self.key)

    @property
    def rgb(self) -> Float[Tensor, "B 3 H W"]:
        """The colour images. Raises ``ValueError`` for a depth sensor's batch."""
        if self.image is None:
            raise ValueError("this batch has no colour images")
        return self.image

    def __getitem__(self, index: slice) -> Self:
        """A contiguous part of the batch."""
        if not isinstance(index, slice):
            raise TypeError("a batch is cut by a slice, so that its parts are batches again")
        return replace(
            self,
            **{f.name: value[index] for f in fields(self) if (value := getattr(self, f.name)) is not None},
        )

    def take(self, index: Int[Tensor, "n"]) -> Self:
        """The samples at the given positions, in that order."""
        positions = index.tolist()
        chosen = self.map(lambda tensor: tensor[index.to(tensor.device)])
        names = {
            f.name: tuple(value[i] for i in positions)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), tuple)
        }
        return replace(chosen, **names)

    def map(self, function) -> Self:
        """The same batch with ``function`` applied to every tensor in it."""
        return replace(self, **{f.name: _apply(getattr(self, f.name), function) for f in fields(self)})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory; called by the data loader."""
        return self.map(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True)
class UnlabelledBatch(Observation):
    """Observations of the target domain."""


@dataclass(frozen=True)
class LabelledBatch(Observation):
    """Observations with labels. Joints are in the order of the skeleton in use.

    ``valid`` is True for a joint that has a label, ``visible`` for one that is labelled and not hidden.
    """

    uv_px: Float[Tensor, "B J 2"] | None = None  # pixels of this crop
    valid: Bool[Tensor, "B J"] | None = None
    visible: Bool[Tensor, "B J"] | None = None
    joints_m: Float[Tensor, "B J 3"] | None = None  # camera frame
    mask: Bool[Tensor, "B H W"] | None = None  # visible part of the subject, including a hand's forearm
    hand_mask: Bool[Tensor, "B H W"] | None = None  # visible part of a hand beyond its wrist
    depth_label_m: Float[Tensor, "B H W"] | None = None  # of a colour crop: along the optical axis; 0 where unknown
    vertices_m: Float[Tensor, "B V 3"] | None = None  # camera frame
    # Of rendered subjects: joint angles as their articulation names them; Anny's phenotypes, and finger lengths of
    # hands.
    angles_rad: Float[Tensor, "B A"] | None = None
    phenotypes: Float[Tensor, "B P"] | None = None

    def unlabelled(self) -> UnlabelledBatch:
        """The observations without any label."""
        return UnlabelledBatch(**{f.name: getattr(self, f.name) for f in fields(Observation)})


BatchT = TypeVar("BatchT", bound=Observation)


def concatenate(batches: Sequence[BatchT]) -> BatchT:
    """One batch out of several of the same kind. A field that one of them lacks must be lacking in all."""
    first = batches[0]
    joined: dict[str, Any] = {}
    for f in fields(first):
        values = [getattr(batch, f.name) for batch in batches]
        if any(value is None for value in values):
            if not all(value is None for value in values):
                raise ValueError(f"cannot join batches: {f.name} is present in some and absent in others")
            joined[f.name] = None
        elif isinstance(values[0], tuple):
            joined[f.name] = tuple(chain.from_iterable(values))
        elif isinstance(values[0], Camera):
            joined[f.name] = _join_cameras(values)
        else:
            joined[f.name] = torch.cat(values)
    return type(first)(**joined)


def _join_cameras(cameras: Sequence[Camera]) -> Camera:
    K = torch.cat([camera.K for camera in cameras])
    if all(camera.distortion is None for camera in cameras):
        return Camera(K)
    none = K.new_zeros(1, 5)
    return Camera(K, torch.cat([none.expand(len(c), 5) if c.distortion is None else c.distortion for c in cameras]))
