"""Cubes of depth that hold something of a hand's size; in the others nothing can be found, and nothing learnt."""

from typing import Generic

from posebridge.cameras.cube import foreground
from posebridge.contracts.batch import Observation
from posebridge.data.dataset_stream import Crops, CropT
from posebridge.data.frames import UnreadableFrameError

EMPTY = "its cube holds no surface of a hand's size"
_LEAST_AREA_M2 = 10e-4  # of a hand in its cube, at the centre's depth; a finger seen along covers 3 cm2


def holds_hand(cube: Observation, cube_m: float) -> bool:
    """Whether a batch of one shows surface enough in its cube, as seen from the camera, at the centre's depth."""
    assert cube.depth_m is not None
    assert cube.centre_m is not None
    seen = foreground(cube.depth_m, cube.centre_m, cube_m)
    return seen.float().mean().item() * cube_m**2 >= _LEAST_AREA_M2


class FilledCubes(Generic[CropT]):
    """Crops of which those with an empty cube count as frames that can't be read."""

    def __init__(self, crops: Crops[CropT], cube_m: float):
        self.crops = crops
        self.cube_m = cube_m

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> CropT:
        """A batch of one. Raises ``UnreadableFrameError`` where its file is broken, or its cube is empty."""
        cube = self.crops[index]
        if not holds_hand(cube, self.cube_m):
            raise UnreadableFrameError(cube.key[0], EMPTY)
        return cube
