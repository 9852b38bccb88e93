"""Images and depth in memory, checked and turned into the frames that readers yield."""

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from posebridge.data.boxes import box_problem
from posebridge.data.frames import SIDES, RawFrame, Side
from posebridge.errors import InputError

_FARTHEST_M = 100.0  # depth beyond it is in millimetres


@dataclass
class ImageArrays:
    """RGB images (H, W, 3) uint8 as a ``FrameStream``; keys are their numbers, ``000000`` first.

    ``boxes`` holds one box (4,) x0 y0 x1 y1 in pixels for each image, ``hands`` one "left" or "right".
    Iterating raises ``InputError`` for an image, a box or a hand of another form, and for a number that doesn't match.
    """

    images: Iterable[np.ndarray]
    boxes: Iterable[Any] | None = None
    hands: Iterable[Side] | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[RawFrame]:
        """The frames in order; images are taken one by one."""
        _check_count(self.images, self.boxes, "boxes")
        _check_count(self.images, self.hands, "hands")
        boxes, hands = (None if values is None else iter(values) for values in (self.boxes, self.hands))
        number = -1
        for number, image in enumerate(self.images):
            height, width = _checked_image(image, number).shape[:2]
            box = None if boxes is None else _box(_next(boxes, number, "box"), number, width, height)
            hand = None if hands is None else _side(_next(hands, number, "hand"), number)
            yield RawFrame(image, f"{number:06d}", frame=number, box_xyxy=box, hand=hand)
        if number < 0:
            raise InputError("there is no image to predict: give at least one")


@dataclass
class DepthArrays:
    """Depth (H, W) as a ``FrameStream``: floats in metres, or uint16 in steps of ``unit_mm``.

    ``centres_mm`` holds the middle of each hand's cube (3,) in the camera frame; without it frames have no centre.
    Iterating raises ``InputError`` for depth of another form.
    """

    depth: Iterable[np.ndarray]
    K: np.ndarray  # (3, 3) intrinsics in pixels of the depth
    hand: Literal["left", "right"] = "right"
    unit_mm: float = 1.0
    centres_mm: Iterable[Any] | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[RawFrame]:
        """The frames in order; arrays are taken one by one."""
        _check_count(self.depth, self.centres_mm, "centres")
        centres = None if self.centres_mm is None else iter(self.centres_mm)
        number = -1
        for number, depth in enumerate(self.depth):
            depth_m = _metres(depth, number, self.unit_mm)
            key = f"{number:06d}"
            centre_m = None if centres is None else _centre_m(_next(centres, number, "centre"), number)
            yield RawFrame(None, key, frame=number, K=self.K, hand=self.hand, depth_m=depth_m, centre_m=centre_m)
        if number < 0:
            raise InputError("there is no depth to predict: give at least one array")


def as_frames(arrays: Any, ndim: int) -> Iterable[np.ndarray]:
    """One array of ``ndim`` dimensions as a list of it; a stack, a list or an iterator as it is.

    Raises ``InputError`` for what holds no arrays.
    """
    if isinstance(arrays, np.ndarray):
        return [arrays] if arrays.ndim <= ndim else arrays
    if not isinstance(arrays, Iterable) or isinstance(arrays, dict | bytes):
        raise InputError(
            f"a {type(arrays).__name__} is no input: give an array, a list or iterator of arrays, or a path"
        )
    return arrays


def per_frame(values: Any, arrays: Any, ndim: int) -> Iterable[Any] | None:
    """Boxes or centres, one for each frame; those of a single array may come without their first dimension."""
    single = isinstance(arrays, np.ndarray) and arrays.ndim <= ndim
    if values is None or not single:
        return values
    return [values] if np.ndim(values) == 1 else values


def intrinsics_of(intrinsics: Any) -> tuple[float, float, float, float]:
    """fx fy cx cy from these four numbers or from K (3, 3) without skew. Raises ``InputError`` for anything else."""
    try:
        given = np.asarray(intrinsics, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        given = np.empty(0)
    if given.shape == (3, 3) and given[0, 1] == given[1, 0] == 0 and given[2].tolist() == [0, 0, 1]:
        given = given[[0, 1, 0, 1], [0, 1, 2, 2]]
    if given.shape != (4,):
        raise InputError(
            f"intrinsics {intrinsics}: give fx fy cx cy in pixels, or K [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
        )
    fx, fy, cx, cy = given.tolist()
    return fx, fy, cx, cy


def _check_count(frames: Iterable[Any], values: Iterable[Any] | None, name: str) -> None:
    if isinstance(frames, Sized) and isinstance(values, Sized) and len(frames) != len(values):
        raise InputError(f"{len(values)} {name} for {len(frames)} frames: give one for each frame")


def _next(values: Iterator[Any], number: int, name: str) -> Any:
    for value in values:
        return value
    raise InputError(f"frame {number} has no {name}: give one for each frame")


def _checked_image(image: Any, number: int) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        raise InputError(f"image {number} is a {type(image).__name__}: give RGB images as arrays (H, W, 3) of uint8")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"image {number} is {image.dtype} of shape {image.shape}: give RGB as uint8 of shape (H, W, 3)"
        )
    return image


def _box(box: Any, number: int, width: int, height: int) -> np.ndarray:
    try:
        xyxy = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        xyxy = np.empty(0)
    if xyxy.shape != (4,):
        raise InputError(f"the box {box} of image {number} is not four numbers x0, y0, x1, y1")
    if problem := box_problem(xyxy, width, height):
        raise InputError(f"the box {xyxy.tolist()} of image {number} {problem}")
    return xyxy


def _side(hand: Any, number: int) -> Side:
    for side in SIDES:
        if hand == side:
            return side
    raise InputError(f"the hand {hand!r} of image {number} is neither left nor right")


def _metres(depth: Any, number: int, unit_mm: float) -> np.ndarray:
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or 0 in depth.shape:
        given = f"of shape {depth.shape}" if isinstance(depth, np.ndarray) else f"a {type(depth).__name__}"
        raise InputError(f"depth {number} is {given}: give arrays (H, W) of metres, or of uint16 with unit_mm")
    if depth.dtype == np.uint16:
        return depth.astype(np.float32) * np.float32(1e-3 * unit_mm)
    if depth.dtype.kind != "f":
        raise InputError(f"depth {number} is {depth.dtype}: give floats in metres, or uint16 with unit_mm")
    measured = depth[np.isfinite(depth) & (depth > 0)]
    if measured.size and np.median(measured) > _FARTHEST_M:
        raise InputError(f"depth {number} has a median of {np.median(measured):.0f} m: give metres, not millimetres")
    return depth


def _centre_m(centre_mm: Any, number: int) -> np.ndarray:
    try:
        centre_m = 1e-3 * np.asarray(centre_mm, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        centre_m = np.empty(0)
    if centre_m.shape != (3,) or not np.isfinite(centre_m).all():
        raise InputError(f"the centre {centre_mm} of depth {number} is not three numbers x, y, z in mm")
    return centre_m
