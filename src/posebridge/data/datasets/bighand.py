"""BigHand2.2M (Yuan, Ye, Stenger, Jain and Kim, CVPR 2017) in the layout in which it is given out since HANDS 2017.

``training/images/image_D00000001.png`` and ``training/Training_Annotation.txt``; ``frame/images/`` for the challenge's
test frames, whose annotations came later. Pictures are 640 x 480, 16 bits, millimetres, of an Intel SR300. A line is
the file's name, then x y z in millimetres of 21 joints in the camera frame: wrist, the five knuckles from thumb to
little finger, then each finger's other three joints.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from posebridge.data.datasets.depth_hands import DepthHands, DepthRecord
from posebridge.data.datasets.depth_png import read_depth_png
from posebridge.data.datasets.hand_centres import CentreSource, HandCentres
from posebridge.data.datasets.hand_joints import hand_labels, plausible_hands
from posebridge.data.datasets.listed_frames import ListedFrames
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, Side
from posebridge.errors import InputError
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS

BIGHAND_K = np.array([[475.065948, 0.0, 315.944855], [0.0, 475.065857, 245.287079], [0.0, 0.0, 1.0]])

_MM = 1e-3
_FOLDERS: dict[Split, str] = {"train": "training", "test": "frame"}
_ANNOTATIONS: dict[Split, str] = {"train": "Training_Annotation.txt", "test": "Test_Annotation.txt"}


class BigHand(DepthHands):
    """One frame a picture; key its path below the split's folder without suffix, sequence its folder, frame its row."""

    K = BIGHAND_K

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        annotations: str | Path | None = None,
        centres: CentreSource = "blob",
        hand: Side | None = None,
    ):
        """``split``: "train" is the folder ``training``, "test" the challenge's test frames, ``frame``. ``hand``: the
        one that all pictures show, which the release doesn't state.

        ``annotations``: the text file, where it is not ``Training_Annotation.txt`` (``Test_Annotation.txt`` for
        "test") in the split's folder or in the root. ``centres``: see ``HandCentres``; a file has a line for each line
        of the annotations. Joints are read by the first call of ``labels``.
        Raises ``InputError`` where a named file or the folder is missing or the folder holds no picture.
        """
        folder = _folder(Path(root), _FOLDERS[split])
        if annotations is not None and not Path(annotations).is_file():
            raise InputError(f"{annotations}: no such annotation; frames can be used without it, their labels can't")
        usual = (place / _ANNOTATIONS[split] for place in (folder, Path(root)))
        found = [Path(annotations)] if annotations is not None else [path for path in usual if path.is_file()][:1]
        self.skipped: dict[str, str] = {}
        self.hand = hand
        self._frames = ListedFrames(folder, found, self.skipped)
        self.centres = HandCentres(centres, BIGHAND_K, self._frames.count, self.labels)

    def __len__(self) -> int:
        return len(self._frames.names)

    def record(self, index: int) -> DepthRecord:
        """Where the picture lies, and its names."""
        return self._frames.record(index)

    def read_depth(self, file: Path) -> np.ndarray:
        """Returns (H, W) float32 metres. Raises ``UnreadableFrameError`` for a broken file."""
        return read_depth_png(file, _MM)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``HAND21``; none valid for a frame without a line, or with a broken one.

        Raises ``InputError`` where no annotation is there, or its hands are not in millimetres.
        """
        return hand_labels(self._joints_m[self._frames.rows[index]], BIGHAND_K, ORDERS["bighand"], HAND21)

    @cached_property
    def _joints_m(self) -> np.ndarray:
        """(rows, 21, 3) in the camera frame, in the order of the release."""
        joints_mm = self._frames.read_joints(len(HAND21), self.skipped)
        return plausible_hands(self._frames.lists[0], joints_mm * np.float32(_MM), self.skipped)


def _folder(root: Path, split: str) -> Path:
    """The split's folder, whether or not its name starts with a capital."""
    candidates = [root / split, root / split.capitalize()]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InputError(f"{candidates[0]}: no such folder; give the root of the unpacked release")
