"""ICVL hand posture (Tang, Chang, Tejani and Kim, *Latent Regression Forest*, CVPR 2014) in its release's layout.

``Training/Depth/<sequence>/image_0000.png`` with ``Training/labels.txt``; ``Testing/Depth/test_seq_{1,2}/`` with
``Testing/test_seq_{1,2}.txt``. Pictures are 320 x 240, 16 bits, millimetres. A line of the lists is the path below
``Depth``, then u v d (pixels, millimetres) of 16 joints, the skeleton ``ICVL16``. The test lists show left hands,
which follows from the chirality of their joints.
"""

import re
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
from posebridge.skeletons.depth_hands import ICVL16

ICVL_K = np.array([[240.99, 0.0, 160.0], [0.0, 240.96, 120.0], [0.0, 0.0, 1.0]])

_MM = 1e-3
_ROTATED = re.compile(r"-?\d{1,3}(-5)?")  # folders of pictures turned in their plane: 22-5, -45, 180
_FOLDERS: dict[Split, str] = {"train": "Training", "test": "Testing"}
_LISTS: dict[Split, tuple[str, ...]] = {"train": ("labels.txt",), "test": ("test_seq_1.txt", "test_seq_2.txt")}


class ICVL(DepthHands):
    """One frame a picture; key its path below ``Depth`` without suffix, sequence its folder, frame its row in the list.

    The protocol of the literature is the test split: 702 and 894 frames.
    """

    K = ICVL_K
    hand: Side | None = "left"

    def __init__(
        self,
        root: str | Path,
        split: Split = "test",
        rotated: bool = False,
        centres: CentreSource = "blob",
    ):
        """``rotated``: with the pictures that the release has rotated in their plane, 331,006 instead of some 22,000.

        ``centres``: see ``HandCentres``; a file has a line for each line of the lists, rotated pictures included.
        Joints of the lists are read by the first call of ``labels``.
        Raises ``InputError`` where the folder holds no picture.
        """
        folder = Path(root) / _FOLDERS[split]
        self.skipped: dict[str, str] = {}
        self._frames = ListedFrames(folder / "Depth", [folder / name for name in _LISTS[split]], self.skipped)
        if not rotated:
            self._frames.keep([not _ROTATED.fullmatch(name.split("/")[0]) for name in self._frames.names])
        self.centres = HandCentres(centres, ICVL_K, self._frames.count, self.labels)

    def __len__(self) -> int:
        return len(self._frames.names)

    def record(self, index: int) -> DepthRecord:
        """Where the picture lies, and its names."""
        return self._frames.record(index)

    def read_depth(self, file: Path) -> np.ndarray:
        """Returns (H, W) float32 metres. Raises ``UnreadableFrameError`` for a broken file."""
        return read_depth_png(file, _MM)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``ICVL16``; none valid for a frame outside the lists or with a broken line.

        Raises ``InputError`` where no list is there, or its hands are not in pixels and millimetres.
        """
        return hand_labels(self._joints_m[self._frames.rows[index]], ICVL_K, ICVL16.joints, ICVL16)

    @cached_property
    def _joints_m(self) -> np.ndarray:
        """(rows, 16, 3) in the camera frame."""
        uvd = self._frames.read_joints(len(ICVL16), self.skipped).astype(np.float64)
        depth_m = uvd[..., 2:] * _MM
        xy = (uvd[..., :2] - ICVL_K[:2, 2]) / np.diag(ICVL_K)[:2]
        return plausible_hands(
            self._frames.lists[0], np.concatenate([xy, np.ones_like(depth_m)], -1) * depth_m, self.skipped
        )
