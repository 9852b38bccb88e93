"""Boxes around the subjects of frames: the step between readers and crops."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from posebridge.cameras.pixel_maps import mapped_box, upright_map
from posebridge.data.boxes import Boxes, SubjectBox
from posebridge.data.datasets.options import BoxOrientation
from posebridge.data.frames import RawFrame
from posebridge.errors import InputError


class Boxing(Protocol):
    """Finds the subjects of frames: in a file of boxes, or in the pixels."""

    @property
    def skipped(self) -> Mapping[str, str]:
        """Frames so far in which there is no subject, with the reason."""
        ...

    def boxed(self, frames: Iterable[RawFrame]) -> Iterator[RawFrame]:
        """Yields each frame once for each of its subjects, with ``box_xyxy``, ``hand`` and a key of its own.

        Raises ``InputError`` for boxes that can't be used.
        """
        ...


class FileBoxing:
    """Boxes of a file, at most one for each frame, by the frames' keys."""

    def __init__(self, boxes: Boxes, orientation: BoxOrientation = "upright"):
        """``orientation``: whether boxes are in pixels of the upright or of the stored picture."""
        self.boxes = boxes
        self.orientation: BoxOrientation = orientation
        self.skipped: dict[str, str] = {}

    def boxed(self, frames: Iterable[RawFrame]) -> Iterator[RawFrame]:
        """Yields each frame that has a box.

        Raises ``InputError`` for a box outside its image, and where no frame has a box.
        """
        found_any = False
        for frame in frames:
            box = self._stored_box(frame)
            if box is None:
                self.skipped[frame.key] = f"no box in {self.boxes.path}"
                continue
            found_any = True
            yield replace(frame, box_xyxy=box.xyxy, hand=box.hand)
        if not found_any:
            keys = f"its keys are like {next(iter(self.boxes.by_key))}, the frames' like {next(iter(self.skipped))}"
            raise InputError(f"boxes {self.boxes.path}: no frame of the target has a box; {keys}")

    def _stored_box(self, frame: RawFrame) -> SubjectBox | None:
        """The frame's box in pixels of the file."""
        height, width = frame.shape
        if self.orientation == "stored":
            return self.boxes.get(frame.key, width, height)
        box = self.boxes.get(frame.key, *((height, width) if frame.turn % 2 else (width, height)))
        if box is None:
            return None
        T_file_upright = np.linalg.inv(upright_map(width, height, frame.turn, frame.mirror))
        return replace(box, xyxy=mapped_box(box.xyxy, T_file_upright))
