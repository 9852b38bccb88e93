"""A user's unlabelled depth frames, cut to cubes around the hand: pictures, one archive, or calibrated cameras."""

from collections.abc import Iterator

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.agreeing_views import agreeing_views
from posebridge.data.crops import CubeCropConfig, crop_cube
from posebridge.data.datasets.depth_archive import DepthArchive
from posebridge.data.datasets.depth_folder import DepthFolder
from posebridge.data.datasets.depth_rig import CAMERAS, DepthRig
from posebridge.data.depth_centre import BlobConfig
from posebridge.data.filled_cubes import EMPTY, holds_hand
from posebridge.data.frames import FrameStream, IndexedFrames, RawFrame, UnreadableFrameError
from posebridge.data.located_frames import located
from posebridge.data.target_config import DepthTargetConfig
from posebridge.errors import InputError
from posebridge.regular_files import absence


def open_depth(config: DepthTargetConfig) -> IndexedFrames:
    """The reader for what lies at ``config.path``. Frames have a centre only where the user gives one.

    Raises ``InputError`` for a path, unit or range that can't be a depth target's.
    """
    blob_between(*config.reach_m)
    path, unit_m = config.path, 1e-3 * config.unit_mm
    rig = (path / CAMERAS).is_file()
    if rig or path.suffix == ".npz":
        if config.intrinsics_px is not None or config.centres is not None:
            raise InputError(f"{path} holds its own intrinsics and centres: leave --intrinsics and --centres out")
        if rig:
            return DepthRig(path, unit_m, config.hand, config.encoding)
        if not path.is_file():
            raise InputError(f"{path}: {absence(path)}")
        if config.unit_mm != 1 or config.encoding != "16-bit":
            raise InputError(f"{path} holds its own unit: leave --depth-unit-mm and --depth-encoding out")
        return DepthArchive(path, config.hand)
    if config.intrinsics_px is None:
        raise InputError(
            f"{path}: depth needs its camera's intrinsics: give --intrinsics fx fy cx cy, in pixels of the files"
        )
    K = camera_matrix(*config.intrinsics_px)
    return DepthFolder(path, K, unit_m, config.centres or "none", hand=config.hand, encoding=config.encoding)


def blob_between(near_m: float, far_m: float) -> BlobConfig:
    """The search for hands between two distances in metres. Raises ``InputError`` for distances that don't rise."""
    if not 0 <= near_m < far_m:
        raise InputError(f"hands from {near_m:g} to {far_m:g} m are impossible: give two rising distances")
    return BlobConfig(near_m=near_m, far_m=far_m)


class DepthCrops:
    """Cubes of a reader's frames in their order, around their centres, else around the nearest blob.

    ``skipped`` lists frames that were left out so far.
    """

    def __init__(self, frames: FrameStream, crop: CubeCropConfig, blob: BlobConfig | None = None):
        self.frames = frames
        self.crop = crop
        self.blob = blob
        self._dropped: dict[str, str] = {}

    @property
    def skipped(self) -> dict[str, str]:
        """Frames and files that were left out, with the reason."""
        return self.frames.skipped | self._dropped

    def __iter__(self) -> Iterator[UnlabelledBatch]:
        """Yields batches of one, without empty cubes and without views that disagree with the others.

        Raises ``InputError`` where no frame is usable.
        """
        return (crop for _, crop in self.with_frames())

    def with_frames(self) -> Iterator[tuple[RawFrame, UnlabelledBatch]]:
        """As iterating, each crop with the frame that it was cut from, as its reader returned it."""
        waiting: dict[int, tuple[RawFrame, UnlabelledBatch]] = {}  # by identity of the crop, in order
        any_usable = False
        for crop in agreeing_views(self._filled(waiting), self.crop.cube_m, self._dropped):
            while (first := next(iter(waiting))) != id(crop):
                del waiting[first]
            any_usable = True
            yield waiting.pop(first)
        if not any_usable:
            key, reason = next(iter(self.skipped.items()))
            raise InputError(f"no frame can be used; {key}: {reason}")

    def _filled(self, waiting: dict[int, tuple[RawFrame, UnlabelledBatch]]) -> Iterator[UnlabelledBatch]:
        for frame in self.frames:
            try:
                crop = crop_cube(located(frame, self.blob), self.crop)
            except UnreadableFrameError as error:
                self._dropped[error.file] = error.reason
                continue
            if holds_hand(crop, self.crop.cube_m):
                waiting[id(crop)] = frame, crop
                yield crop
            else:
                self._dropped[frame.key] = f"{EMPTY}: check unit, centre and intrinsics"
