"""NYU hand pose (Tompson, Stein, LeCun and Perlin, ACM TOG 2014) in its release's layout.

``{train,test}/depth_{view}_{frame:07d}.png``, views 1 to 3, frames from 1; depth in millimetres is B + 256 G.
``joint_data.mat`` has ``joint_uvd`` and ``joint_xyz`` (3 views, N, 36, 3) in pixels and millimetres. Of the 36, 14 are
read; ``joint_rules.UNSCORED_JOINTS`` lists unscored ones. The release's y axis points up, so its fy is negative. Here y
points down and fy is positive, which gives the same pixels. The release has no calibration between its views.

The pictures are mirrored by the sensor's driver, so that left hands look right (seen in one test frame, taken for all).
"""

import re
import struct
import zlib
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from posebridge.data.datasets.depth_hands import DepthHands, DepthRecord
from posebridge.data.datasets.depth_png import read_depth_two_bytes
from posebridge.data.datasets.hand_centres import CentreSource, HandCentres
from posebridge.data.datasets.hand_joints import hand_labels, plausible_hands
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, Side
from posebridge.errors import InputError
from posebridge.regular_files import absence
from posebridge.skeletons.depth_hands import NYU14

NYU_K = np.array([[588.03, 0.0, 320.0], [0.0, 587.07, 240.0], [0.0, 0.0, 1.0]])
ROWS_OF_NYU14 = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)  # of the 36, in the order of ``NYU14``

_ANNOTATED = 36
_AXES = (1, -1, 1)  # the release's y points up
_MM = 1e-3
_MAT_ERRORS = (ValueError, TypeError, KeyError, IndexError, OSError, EOFError, MatReadError, struct.error, zlib.error)


class NYU(DepthHands):
    """One frame a picture; key the file's stem, sequence the split, frame and view the release's numbers.

    The protocol of the literature is the test split, view 1: 8252 frames.
    """

    K = NYU_K
    hand: Side | None = "right"

    def __init__(
        self,
        root: str | Path,
        split: Split = "test",
        view: Literal[1, 2, 3] = 1,
        centres: CentreSource = "blob",
    ):
        """``centres``: see ``HandCentres``; a file has a line a frame. Joints are read by the first ``labels``.

        Raises ``InputError`` where the folder holds no depth of that view.
        """
        self.folder = Path(root) / split
        self.split = split
        self.view = view
        self.skipped: dict[str, str] = {}
        named = (re.fullmatch(rf"depth_{view}_(\d{{7}})\.png", file.name) for file in self.folder.glob("depth_*.png"))
        self.numbers = sorted(int(match[1]) for match in named if match)
        if not self.numbers:
            raise InputError(f"{self.folder}: no depth_{view}_0000001.png and so on; give the root of the release")
        for gap in sorted(set(range(1, self.numbers[-1])) - set(self.numbers)):
            self.skipped[str(self._file(gap))] = "the file is missing"
        self.centres = HandCentres(centres, NYU_K, self.numbers[-1], self.labels, _AXES)

    def __len__(self) -> int:
        return len(self.numbers)

    def record(self, index: int) -> DepthRecord:
        """Where the picture lies, and its names."""
        number = self.numbers[index]
        file = self._file(number)
        return DepthRecord(file, file.stem, self.split, number, row=number - 1, view=self.view)

    def read_depth(self, file: Path) -> np.ndarray:
        """Returns (H, W) float32 metres. Raises ``UnreadableFrameError`` for a broken file."""
        return read_depth_two_bytes(file, _MM)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``NYU14``; none valid for a frame that ``joint_data.mat`` doesn't reach.

        Raises ``InputError`` where that file is missing, damaged or of another shape.
        """
        uv_px, joints_m = self._annotations
        row = self.numbers[index] - 1
        if row >= len(joints_m):
            uv_px, joints_m, row = np.full((1, len(NYU14), 2), np.nan), np.full((1, len(NYU14), 3), np.nan), 0
        return hand_labels(joints_m[row], NYU_K, NYU14.joints, NYU14, uv_px[row])

    def _file(self, number: int) -> Path:
        return self.folder / f"depth_{self.view}_{number:07d}.png"

    @cached_property
    def _annotations(self) -> tuple[np.ndarray, np.ndarray]:
        """uv (N, 14, 2) pixels and joints (N, 14, 3) metres in the camera frame, of this view."""
        path = self.folder / "joint_data.mat"
        uvd, xyz = _read_joint_data(path)
        uvd, xyz = (array[self.view - 1][:, ROWS_OF_NYU14].astype(np.float32) for array in (uvd, xyz))
        return uvd[..., :2], plausible_hands(path, xyz * np.float32(_MM) * np.array(_AXES, np.float32), self.skipped)


def _read_joint_data(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``joint_uvd`` and ``joint_xyz`` (3, N, 36, 3). A MATLAB 5 file holds arrays; reading it runs nothing."""
    if not path.is_file():
        raise InputError(f"{path}: {absence(path)}; frames can be used without it, their labels can't")
    try:
        content = loadmat(path, variable_names=["joint_uvd", "joint_xyz"])
    except NotImplementedError:
        raise InputError(f"{path}: a MATLAB 7.3 file; the release's own is MATLAB 5, save it with -v7") from None
    except _MAT_ERRORS as error:
        raise InputError(f"{path}: not a MATLAB 5 file, or cut off ({error}); unpack it again") from None
    uvd, xyz = (_joint_array(path, name, content.get(name)) for name in ("joint_uvd", "joint_xyz"))
    if uvd.shape != xyz.shape:
        raise InputError(f"{path}: joint_uvd is {uvd.shape}, joint_xyz {xyz.shape}; unpack it again")
    return uvd, xyz


def _joint_array(path: Path, name: str, array: object) -> np.ndarray:
    if isinstance(array, np.ndarray) and array.ndim == 4 and array.dtype.kind in "fiu":
        views, _, joints, coordinates = array.shape
        if (views, joints, coordinates) == (3, _ANNOTATED, 3):
            return array
    raise InputError(f"{path}: {name} is not an array of numbers of shape (3, N, {_ANNOTATED}, 3)")
