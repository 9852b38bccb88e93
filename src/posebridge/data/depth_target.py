"""A user's depth frames, without labels: pictures, one archive, or calibrated cameras; cut to cubes around the hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.agreeing_views import agreeing
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.datasets.depth_archive import DepthArchive
from posebridge.data.datasets.depth_folder import DepthFolder, Encoding
from posebridge.data.datasets.depth_rig import CAMERAS, DepthRig
from posebridge.data.depth_centre import BlobConfig
from posebridge.data.filled_cubes import EMPTY, holds_hand
from posebridge.data.frames import FrameStream, IndexedFrames
from posebridge.errors import InputError


@dataclass(frozen=True)
class DepthTargetConfig:
    """Where depth lies and what is known of its sensor."""

    path: Path  # a picture or a folder of them, an .npz, or a folder with cameras.json
    intrinsics_px: tuple[float, float, float, float] | None = None  # fx fy cx cy; the others say them themselves
    unit_mm: float = 1.0  # one step of a picture
    encoding: Encoding = "16-bit"
    centres: Path | None = None  # a line x y z in mm a frame, camera frame; None: found in the depth
    reach_m: tuple[float, float] = (0.1, 1.5)  # from the camera, where hands are looked for
    hand: Literal["left", "right"] = "right"


def open_depth(config: DepthTargetConfig, centres: Literal["blob", "none"] = "blob") -> IndexedFrames:
    """The frames by what lies on disk; ``centres`` are those of hands for which no centre is given.

    Raises ``InputError`` for what can't be a depth target.
    """
    near_m, far_m = config.reach_m
    if not 0 <= near_m < far_m:
        raise InputError(f"hands from {near_m:g} to {far_m:g} m are impossible: give two rising distances")
    path, blob, unit_m = config.path, blob_of(config), 1e-3 * config.unit_mm
    rig = (path / CAMERAS).is_file()
    if rig or path.suffix == ".npz":
        if config.intrinsics_px is not None or config.centres is not None:
            raise InputError(f"{path} says its intrinsics and centres itself: leave --intrinsics and --centres out")
        if rig:
            return DepthRig(path, unit_m, centres, blob, config.hand, config.encoding)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if config.unit_mm != 1 or config.encoding != "16-bit":
            raise InputError(f"{path} says its unit itself: leave --depth-unit-mm and --depth-encoding out")
        return DepthArchive(path, centres, blob, config.hand)
    if config.intrinsics_px is None:
        raise InputError(
            f"{path}: depth needs its camera's intrinsics: give --intrinsics fx fy cx cy, in pixels of the files"
        )
    fx, fy, cx, cy = config.intrinsics_px
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return DepthFolder(path, K, unit_m, config.centres or centres, blob, config.hand, config.encoding)


def blob_of(config: DepthTargetConfig) -> BlobConfig:
    """What may be a hand."""
    near_m, far_m = config.reach_m
    return BlobConfig(near_m=near_m, far_m=far_m)


class DepthCrops:
    """Cubes of a reader's frames in their order. ``skipped`` names, once iterated, what was left out, and why."""

    def __init__(self, frames: FrameStream, crop: CubeCropConfig):
        self.frames = frames
        self.crop = crop
        self._lost: dict[str, str] = {}

    @property
    def skipped(self) -> dict[str, str]:
        """What was left out, and why."""
        return self.frames.skipped | self._lost

    def __iter__(self) -> Iterator[UnlabelledBatch]:
        """Batches of one, without those whose cube is empty, and without views that see another hand than the others.

        Raises ``InputError`` where none is left.
        """
        left = False
        for batch in agreeing(self._filled(), self.crop.cube_m, self._lost):
            left = True
            yield batch
        if not left:
            key, why = next(iter(self.skipped.items()))
            raise InputError(f"no frame can be used; {key}: {why}")

    def _filled(self) -> Iterator[UnlabelledBatch]:
        for frame in self.frames:
            batch = crop_cube(frame, self.crop)
            if holds_hand(batch, self.crop.cube_m):
                yield batch
            else:
                self._lost[frame.key] = f"{EMPTY}: check unit, centre and intrinsics"
