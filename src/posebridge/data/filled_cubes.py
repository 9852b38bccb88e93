"""Depth cubes that hold a surface of a hand's size; empty ones are left out of training and prediction."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic

import numpy as np

from posebridge.cameras.cube import foreground
from posebridge.contracts.batch import Observation
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.dataset_stream import Crops, CropT
from posebridge.data.frames import RawFrame, UnreadableFrameError

EMPTY = "its cube holds no surface of a hand's size"
_MIN_AREA_M2 = 10e-4  # of a hand at the centre's depth; a finger that points at the camera covers 3 cm2


def holds_hand(cube: Observation, cube_m: float) -> bool:
    """Whether the visible surface in the cube of a batch of one covers 10 cm2 at the centre's depth."""
    assert cube.depth_m is not None
    assert cube.centre_m is not None
    surface = foreground(cube.depth_m, cube.centre_m, cube_m)
    return surface.float().mean().item() * cube_m**2 >= _MIN_AREA_M2


def filled_cube(
    frame: RawFrame,
    centre_m: np.ndarray,
    config: CubeCropConfig,
    cut: Callable[[RawFrame, CubeCropConfig], CropT] = crop_cube,
) -> CropT | None:
    """The frame cut around a centre (3,) in metres.

    None for an empty cube, for a centre behind the camera, and for a frame that has a centre of its own.
    """
    if frame.centre_m is not None or not (np.isfinite(centre_m).all() and centre_m[2] > 0):
        return None
    cube = cut(replace(frame, centre_m=centre_m), config)
    return cube if holds_hand(cube, config.cube_m) else None


class FilledCubes(Generic[CropT]):
    """Crops by index that treat an empty cube as an unreadable frame."""

    def __init__(self, crops: Crops[CropT], cube_m: float):
        self.crops = crops
        self.cube_m = cube_m

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> CropT:
        """Returns a batch of one. Raises ``UnreadableFrameError`` where its file is broken or its cube is empty."""
        cube = self.crops[index]
        if not holds_hand(cube, self.cube_m):
            raise UnreadableFrameError(cube.key[0], EMPTY)
        return cube
