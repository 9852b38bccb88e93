"""The hand's centre in depth frames whose reader gives none."""

from dataclasses import replace

import numpy as np

from posebridge.data.depth_centre import BlobConfig, depth_centre
from posebridge.data.frames import LabelledFrames, RawFrame, UnreadableFrameError
from posebridge.data.subset import ReaderView
from posebridge.errors import InputError


def located(frame: RawFrame, blob: BlobConfig | None = None) -> RawFrame:
    """The frame with a centre: its own, else the nearest blob's, see ``depth_centre``.

    Raises ``UnreadableFrameError`` where there is no blob, and ``ValueError`` for a frame without depth or intrinsics.
    """
    if frame.centre_m is not None:
        return frame
    if frame.depth_m is None or frame.K is None:
        raise ValueError(f"{frame.key}: a hand is searched in depth with known intrinsics")
    try:
        return replace(frame, centre_m=depth_centre(frame.depth_m, frame.K, blob))
    except InputError as error:
        raise UnreadableFrameError(frame.key, str(error)) from None


def middle_of_range(frame: RawFrame, blob: BlobConfig | None = None) -> np.ndarray:
    """(3,) metres in the camera frame: the middle of the searched range, in the image's middle.

    It replaces the centre of a test frame in which no hand is found.
    """
    assert frame.K is not None
    height, width = frame.shape
    blob = blob or BlobConfig()
    ray = np.linalg.inv(frame.K) @ np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    return ray * (blob.near_m + blob.far_m) / 2


class LocatedFrames(ReaderView):
    """The frames of a reader with a centre each, see ``located``."""

    def __init__(self, frames: LabelledFrames, blob: BlobConfig | None = None):
        super().__init__(frames)
        self.blob = blob

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken or no hand is found."""
        return located(super().__getitem__(index), self.blob)
