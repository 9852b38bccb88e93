"""The base of the readers of depth hands: NYU, ICVL, MSRA and BigHand2.2M."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posebridge.data.datasets.hand_centres import HandCentres
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame, Side


@dataclass(frozen=True)
class DepthRecord:
    """One depth picture of a release."""

    file: Path
    key: str
    sequence: str
    frame: int
    row: int  # in the release's list, from 0: by it published centres are found
    view: int = 0


class DepthHands(IndexedFrames):
    """Depth frames with the centre of their hand's cube. A subclass sets the attributes below."""

    K: np.ndarray  # (3, 3) of the release's sensor
    hand: Side | None  # that every picture shows; None: not stated by the release
    centres: HandCentres

    @abstractmethod
    def record(self, index: int) -> DepthRecord:
        """Where the picture lies, and its names. Opens no file."""

    @abstractmethod
    def read_depth(self, file: Path) -> np.ndarray:
        """Returns (H, W) float32 metres, 0 where missing. Raises ``UnreadableFrameError`` for a broken file."""

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken or it has no centre."""
        record = self.record(index)
        depth_m = self.read_depth(record.file)
        return RawFrame(
            image=None,
            key=record.key,
            sequence=record.sequence,
            frame=record.frame,
            view=record.view,
            K=self.K,
            hand=self.hand,
            depth_m=depth_m,
            centre_m=self.centres.of(index, record.row, record.file, depth_m),
        )

    def frame_index(self) -> FrameIndex:
        """Sequence, number and view of every picture."""
        records = (self.record(index) for index in range(len(self)))
        return FrameIndex.of((record.sequence, record.frame, record.view) for record in records)
