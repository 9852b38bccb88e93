"""A user's unlabelled depth frames, cut to cubes around the hand: pictures, one archive, or calibrated cameras."""

from collections.abc import Iterator
from typing import Literal

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.datasets.annotations import camera_matrix
from posebridge.data.datasets.depth_archive import DepthArchive
from posebridge.data.datasets.depth_folder import DepthFolder
from posebridge.data.datasets.depth_rig import CAMERAS, DepthRig
from posebridge.data.depth_centre import BlobConfig
from posebridge.data.filled_cubes import EMPTY, holds_hand
from posebridge.data.frames import FrameStream, IndexedFrames
from posebridge.data.target_config import DepthTargetConfig
from posebridge.errors import InputError
from posebridge.regular_files import absence


def open_depth(config: DepthTargetConfig, centres: Literal["blob", "none"] = "blob") -> IndexedFrames:
    """The reader for what lies at ``config.path``; ``centres`` is for hands without a given centre.

    Raises ``InputError`` for a path, unit or range that can't be a depth target's.
    """
    near_m, far_m = config.reach_m
    if not 0 <= near_m < far_m:
        raise InputError(f"hands from {near_m:g} to {far_m:g} m are impossible: give two rising distances")
    path, blob, unit_m = config.path, blob_of(config), 1e-3 * config.unit_mm
    rig = (path / CAMERAS).is_file()
    if rig or path.suffix == ".npz":
        if config.intrinsics_px is not None or config.centres is not None:
            raise InputError(f"{path} holds its own intrinsics and centres: leave --intrinsics and --centres out")
        if rig:
            return DepthRig(path, unit_m, centres, blob, config.hand, config.encoding)
        if not path.is_file():
            raise InputError(f"{path}: {absence(path)}")
        if config.unit_mm != 1 or config.encoding != "16-bit":
            raise InputError(f"{path} holds its own unit: leave --depth-unit-mm and --depth-encoding out")
        return DepthArchive(path, centres, blob, config.hand)
    if config.intrinsics_px is None:
        raise InputError(
            f"{path}: depth needs its camera's intrinsics: give --intrinsics fx fy cx cy, in pixels of the files"
        )
    K = camera_matrix(*config.intrinsics_px)
    return DepthFolder(path, K, unit_m, config.centres or centres, blob, config.hand, config.encoding)


def blob_of(config: DepthTargetConfig) -> BlobConfig:
    """The search range as a ``BlobConfig``."""
    near_m, far_m = config.reach_m
    return BlobConfig(near_m=near_m, far_m=far_m)


class DepthCrops:
    """Cubes of a reader's frames in their order. ``skipped`` lists frames that were left out so far."""

    def __init__(self, frames: FrameStream, crop: CubeCropConfig):
        self.frames = frames
        self.crop = crop
        self._dropped: dict[str, str] = {}

    @property
    def skipped(self) -> dict[str, str]:
        """Frames and files that were left out, with the reason."""
        return self.frames.skipped | self._dropped

    def __iter__(self) -> Iterator[UnlabelledBatch]:
        """Yields batches of one, without empty cubes and without views that disagree with the others.

        Raises ``InputError`` where no frame is usable.
        """
        any_usable = False
        for batch in agreeing_views(self._filled(), self.crop.cube_m, self._dropped):
            any_usable = True
            yield batch
        if not any_usable:
            key, reason = next(iter(self.skipped.items()))
            raise InputError(f"no frame can be used; {key}: {reason}")

    def _filled(self) -> Iterator[UnlabelledBatch]:
        for frame in self.frames:
            batch = crop_cube(frame, self.crop)
            if holds_hand(batch, self.crop.cube_m):
                yield batch
            else:
                self._dropped[frame.key] = f"{EMPTY}: check unit, centre and intrinsics"
