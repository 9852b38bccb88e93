"""A folder of depth frames from any sensor: 16-bit pictures, without labels."""

from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import check_intrinsics
from posebridge.data.datasets.depth_png import read_depth_png, read_depth_two_bytes
from posebridge.data.datasets.hand_centres import CentreSource, HandCentres
from posebridge.data.datasets.image_folder import ImageFolder, numbers_within
from posebridge.data.datasets.options import Encoding
from posebridge.data.depth_centre import BlobConfig
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame, Side
from posebridge.data.image_file import further_pages
from posebridge.errors import InputError

_READERS = {"16-bit": read_depth_png, "two-bytes": read_depth_two_bytes}


class DepthFolder(IndexedFrames):
    """Keys, sequences and order as ``ImageFolder`` has them."""

    def __init__(
        self,
        path: str | Path,
        K: np.ndarray,
        unit_m: float = 1e-3,
        centres: CentreSource = "blob",
        blob: BlobConfig | None = None,
        hand: Side | None = None,
        encoding: Encoding = "16-bit",
    ):
        """``K`` (3, 3): intrinsics of the pictures' pixels. ``unit_m``: metres that are one step of a picture.

        ``centres``: see ``HandCentres``; a file is in the camera frame.
        Raises ``InputError`` for an empty folder, intrinsics that are no camera's, and a unit of zero or less.
        """
        check_intrinsics(K, str(path))
        if not (np.isfinite(unit_m) and unit_m > 0):
            raise InputError(f"{path}: a unit of {1000 * unit_m:g} mm; give the length of one step of its depth")
        images = ImageFolder(path)
        self.files, self.keys, self.skipped = images.files, images.keys, images.skipped
        self._K = np.asarray(K, dtype=np.float64)
        self._unit_m = unit_m
        self._hand: Side | None = hand
        self._read = _READERS[encoding]
        self.root = images.path if images.path.is_dir() else images.path.parent
        folders = [file.parent.relative_to(self.root) for file in self.files]
        self._sequences = ["" if folder == Path() else folder.as_posix() for folder in folders]
        self._numbers = numbers_within(self._sequences)
        self._centres = HandCentres(centres, self._K, len(self.files), labels=None, blob=blob)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken or shows nothing near."""
        depth_m = self._read(self.files[index], self._unit_m)
        self.skipped.update(further_pages(self.files[index]))
        return RawFrame(
            image=None,
            key=self.keys[index],
            sequence=self._sequences[index],
            frame=self._numbers[index],
            K=self._K,
            hand=self._hand,
            depth_m=depth_m,
            centre_m=self._centres.of(index, index, self.files[index], depth_m),
            file=self.files[index],
        )

    def frame_index(self) -> FrameIndex:
        """Sequence and number of every picture; all are of view 0."""
        return FrameIndex.of((name, number, 0) for name, number in zip(self._sequences, self._numbers, strict=True))
