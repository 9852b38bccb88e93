"""Boxes around the subjects of frames: the step between readers and crops."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from posebridge.cameras.pixel_maps import mapped_box, upright_map
from posebridge.data.boxes import Boxes, SubjectBox
from posebridge.data.datasets.options import BoxOrientation
from posebridge.data.frames import RawFrame
from posebridge.errors import InputError


class Boxing(ABC):
    """Finds the subjects of frames: in a file of boxes, or in the pixels."""

    def __init__(self):
        self.skipped: dict[str, str] = {}  # frames so far in which there is no subject, with the reason

    @abstractmethod
    def subjects(self, frame: RawFrame) -> Iterator[RawFrame]:
        """Yields the frame once for each of its subjects, with ``box_xyxy``, ``hand`` and a key of its own.

        Raises ``InputError`` for boxes that can't be used.
        """

    def check_found(self) -> None:  # noqa: B027 any frame may be without a subject
        """Called after the last frame. Raises ``InputError`` for boxes that are those of other frames."""

    def boxed(self, frames: Iterable[RawFrame], *, with_empty: bool = False) -> Iterator[RawFrame]:
        """The subjects of all frames, in order; and in their place frames without one, which have no box.

        Frames without a subject are left out by default. Raises as ``subjects`` and ``check_found``.
        """
        for frame in frames:
            is_empty = True
            for subject in self.subjects(frame):
                is_empty = False
                yield subject
            if with_empty and is_empty:
                yield replace(frame, hand="right")  # crops that mirror annotated left hands leave it as it is
        self.check_found()


class FileBoxing(Boxing):
    """Boxes of a file, at most one for each frame, by the frames' keys."""

    def __init__(self, boxes: Boxes, orientation: BoxOrientation = "upright"):
        """``orientation``: whether boxes are in pixels of the upright or of the stored picture."""
        super().__init__()
        self.boxes = boxes
        self.orientation: BoxOrientation = orientation
        self._found_any = False

    def subjects(self, frame: RawFrame) -> Iterator[RawFrame]:
        """Yields the frame if it has a box. Raises ``InputError`` for a box outside its image."""
        box = self._stored_box(frame)
        if box is None:
            self.skipped[frame.key] = f"no box in {self.boxes.path}"
        else:
            self._found_any = True
            yield replace(frame, box_xyxy=box.xyxy, hand=box.hand)

    def check_found(self) -> None:
        """Raises ``InputError`` where no frame has a box."""
        if not self._found_any:
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
