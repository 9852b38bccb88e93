"""MSRA hand gestures (Sun, Wei, Liang, Tang and Sun, *Cascaded Hand Pose Regression*, CVPR 2015), in its layout.

``P{0..8}/{gesture}/000000_depth.bin`` and ``joint.txt``: nine subjects, 17 gestures of some 500 frames. A binary file
is six little-endian int32 (width, height, then left, top, right, bottom of the hand's box, the last two exclusive) and
the box's depth as float32 millimetres, 0 where there is none; the rest of the picture isn't stored. ``joint.txt`` is
the number of frames, then a line of 21 x y z in millimetres a frame: wrist, index, middle, ring, little finger, thumb,
each base to tip, with y up and z towards the camera, that is negative.
"""

from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from posebridge.data.datasets.depth_hands import DepthHands, DepthRecord
from posebridge.data.datasets.hand_centres import CentreSource, HandCentres
from posebridge.data.datasets.hand_joints import hand_labels, joint_rows, plausible_hands, read_lines
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, Side, UnreadableFrameError
from posebridge.errors import InputError
from posebridge.regular_files import read_file
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS

MSRA_K = np.array([[241.42, 0.0, 160.0], [0.0, 241.42, 120.0], [0.0, 0.0, 1.0]])
SUBJECTS = tuple(range(9))
GESTURES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "I", "IP", "L", "MP", "RP", "T", "TIP", "Y")

_MM = np.float32(1e-3)
_HEADER_BYTES = 24
_MAX_SIDE_PX = 4096
_CENTRE_AXES = (1, -1, 1)  # published centres have y up, but z away from the camera


class _Frame(NamedTuple):
    sequence: str  # P0/1
    number: int
    row: int  # of the split


class MSRA(DepthHands):
    """One frame a binary file; key ``P0/1/000000``, sequence ``P0/1``, frame its number.

    The protocol of the literature trains on eight subjects and tests on the ninth, for all nine in turn.
    """

    K = MSRA_K

    def __init__(
        self,
        root: str | Path,
        split: Split | Literal["all"] = "all",
        test_subject: int | None = None,
        centres: CentreSource = "blob",
        hand: Side | None = None,
    ):
        """``test_subject``: the subject, 0 to 8, that is the split "test" and that "train" lacks. ``hand``: the one
        that all pictures show, which the release doesn't state.

        ``centres``: see ``HandCentres``; a file has a line for each frame, by subject, gesture and number. Joints are
        read by the first call of ``labels``. Raises ``InputError`` where no subject's folder holds a frame.
        """
        if (split == "all") != (test_subject is None) or test_subject not in (None, *SUBJECTS):
            raise InputError(
                f"{root}: split {split!r} with test_subject={test_subject}; train and test need a subject, 0 to 8"
            )
        self.root = Path(root)
        self.hand = hand
        self.skipped: dict[str, str] = {}
        subjects = [s for s in SUBJECTS if split == "all" or (s == test_subject) == (split == "test")]
        self._frames, rows = self._list_frames(subjects)
        if not self._frames:
            raise InputError(f"{self.root}: no P{subjects[0]}/1/000000_depth.bin and so on; give the release's root")
        self.centres = HandCentres(centres, MSRA_K, rows, self.labels, _CENTRE_AXES)

    def __len__(self) -> int:
        return len(self._frames)

    def record(self, index: int) -> DepthRecord:
        """Where the picture lies, and its names."""
        sequence, number, row = self._frames[index]
        return DepthRecord(self._file(sequence, number), f"{sequence}/{number:06d}", sequence, number, row)

    def read_depth(self, file: Path) -> np.ndarray:
        """Returns (H, W) float32 metres. Raises ``UnreadableFrameError`` for a broken file."""
        return read_depth_bin(file)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``HAND21``; none valid for a frame without a line, or with a broken one.

        Raises ``InputError`` where a ``joint.txt`` is missing, or its hands are not in millimetres.
        """
        sequence, number, _ = self._frames[index]
        joints_m = self._joints_m[sequence]
        known = joints_m[number] if number < len(joints_m) else np.full((len(HAND21), 3), np.nan)
        return hand_labels(known, MSRA_K, ORDERS["msra"], HAND21)

    def _file(self, sequence: str, number: int) -> Path:
        return self.root / sequence / f"{number:06d}_depth.bin"

    def _list_frames(self, subjects: list[int]) -> tuple[list[_Frame], int]:
        """The frames that are there, and how many there would be without gaps in their numbers."""
        frames: list[_Frame] = []
        row = 0
        for sequence in (f"P{subject}/{gesture}" for subject in subjects for gesture in GESTURES):
            stems = (file.name.removesuffix("_depth.bin") for file in (self.root / sequence).glob("*_depth.bin"))
            there = {int(stem) for stem in stems if stem.isdecimal() and len(stem) == 6}
            for number in range(max(there, default=-1) + 1):
                if number in there:
                    frames.append(_Frame(sequence, number, row))
                else:
                    self.skipped[str(self._file(sequence, number))] = "the file is missing"
                row += 1
        return frames, row

    @cached_property
    def _joints_m(self) -> dict[str, np.ndarray]:
        """By sequence, (N, 21, 3) in the camera frame, in the order of the release."""
        sequences = dict.fromkeys(frame.sequence for frame in self._frames)
        return {name: read_joint_file(self.root / name / "joint.txt", self.skipped) for name in sequences}


def read_joint_file(path: Path, skipped: dict[str, str]) -> np.ndarray:
    """(N, 21, 3) metres in the camera frame, in the order ``ORDERS["msra"]``; NaN for broken lines, which are listed.

    Raises ``InputError`` for a file that isn't one, or whose hands are not in millimetres.
    """
    first, *texts = read_lines(path) or [""]
    if not first.strip().isdecimal():
        raise InputError(f"{path}: its first line is not the number of frames; give the release's own file")
    if int(first) != len(texts):
        skipped[str(path)] = f"its first line counts {first.strip()} frames, and it has {len(texts)}"
    joints_mm = joint_rows(path, texts, len(HAND21), skipped)
    return plausible_hands(path, joints_mm * _MM * np.array([1, -1, -1], np.float32), skipped)


def read_depth_bin(path: Path) -> np.ndarray:
    """(H, W) float32 metres, 0 outside the stored box. Raises ``UnreadableFrameError`` for a broken file."""
    try:
        content = read_file(path)
    except OSError as error:
        raise UnreadableFrameError(path, error.strerror or "can't be read") from None
    if len(content) < _HEADER_BYTES:
        raise UnreadableFrameError(path, f"{len(content)} bytes, cut off within its header")
    width, height, left, top, right, bottom = np.frombuffer(content[:_HEADER_BYTES], "<i4").tolist()
    if not (0 <= left < right <= width <= _MAX_SIDE_PX and 0 <= top < bottom <= height <= _MAX_SIDE_PX):
        box = [left, top, right, bottom]
        raise UnreadableFrameError(path, f"a box {box} in a picture of {width}x{height}: not a depth file")
    expected = _HEADER_BYTES + 4 * (right - left) * (bottom - top)
    if len(content) != expected:
        raise UnreadableFrameError(path, f"{len(content)} bytes where its header needs {expected}: cut off, perhaps")
    box_mm = np.frombuffer(content[_HEADER_BYTES:], "<f4").reshape(bottom - top, right - left)
    if not np.isfinite(box_mm).all() or (box_mm < 0).any():
        raise UnreadableFrameError(path, "depth that is negative or not finite")
    depth_m = np.zeros((height, width), dtype=np.float32)
    depth_m[top:bottom, left:right] = box_mm * _MM
    return depth_m
