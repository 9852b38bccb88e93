"""One annotated hand in one colour image, and the base of the readers of colour hands."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posebridge.data.datasets.annotations import project
from posebridge.data.frames import (
    FrameIndex,
    FrameLabels,
    IndexedFrames,
    RawFrame,
    Side,
    UnreadableFrameError,
)
from posebridge.data.image_file import read_image
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import convert


@dataclass(frozen=True)
class HandRecord:
    """One hand in one image, joints in the order of ``HAND21``; sequence, frame and view as in ``FrameIndex``."""

    file: Path
    key: str
    hand: Side | None
    uv_px: np.ndarray  # (21, 2)
    valid: np.ndarray  # (21,) bool
    box_xyxy: np.ndarray | None
    visible: np.ndarray | None = None  # (21,) bool; None: not in the release, so every valid joint counts
    sequence: str = ""
    frame: int = 0
    view: int = 0
    K: np.ndarray | None = None  # (3, 3)
    joints_m: np.ndarray | None = None  # (21, 3) camera frame
    T_world_cam: np.ndarray | None = None  # (4, 4)


class HandFrames(IndexedFrames):
    """Base of the readers of colour hands: turns a record into a frame without labels, and into labels."""

    @abstractmethod
    def record(self, index: int) -> HandRecord:
        """The annotation of hand ``index``. Raises ``UnreadableFrameError`` where it is broken."""

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file or annotation is broken."""
        record = self._record(index)
        return RawFrame(
            image=read_image(record.file),
            key=record.key,
            sequence=record.sequence,
            frame=record.frame,
            view=record.view,
            K=record.K,
            box_xyxy=record.box_xyxy,
            hand=record.hand,
            T_world_cam=record.T_world_cam,
        )

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``HAND21``."""
        record = self._record(index)
        visible = record.valid.copy() if record.visible is None else record.visible
        return FrameLabels(record.uv_px, record.valid, visible, record.joints_m)

    def frame_index(self) -> FrameIndex:
        """Sequence, number and view of every hand. A hand with a broken annotation is a sequence of its own."""
        return FrameIndex.of(self._place(index) for index in range(len(self)))

    def _place(self, index: int) -> tuple[str, int, int]:
        try:
            record = self.record(index)
        except UnreadableFrameError:  # listed when the frame is drawn
            return f"alone: {index}", 0, 0
        return record.sequence, record.frame, record.view

    def _record(self, index: int) -> HandRecord:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return self.record(index)


def spatial_labels(
    joints_m: np.ndarray, K: np.ndarray, valid: np.ndarray | None, names: tuple[str, ...], file: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Joints (21, 3) m, pixels (21, 2), valid (21,) and box (4,) of joints (J, 3) m in the camera frame.

    ``names`` is an entry of ``ORDERS``. ``valid`` (J,): None takes the finite joints. The box is 1.5 times the extent
    of the valid joints. Raises ``UnreadableFrameError`` where none is valid or one is not in front of the camera.
    """
    joints_m, valid = convert(joints_m.astype(np.float64), valid, names, HAND21)
    if not valid.any():
        raise UnreadableFrameError(file, "no joint is labelled")
    if (joints_m[valid, 2] <= 0).any():
        raise UnreadableFrameError(file, "its hand is not in front of the camera")
    joints_m[~valid] = 0
    uv_px = np.zeros((len(HAND21), 2))
    uv_px[valid] = project(joints_m[valid], K)
    return joints_m, uv_px, valid, joint_box(uv_px[valid], JOINT_BOX_PADDING)
