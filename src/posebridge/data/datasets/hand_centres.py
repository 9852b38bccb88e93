"""Centres of the metric cubes of depth frames: from the nearest surface, from labels, or from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from posebridge.data.depth_centre import BlobConfig, depth_centre
from posebridge.data.frames import FrameLabels, UnreadableFrameError
from posebridge.errors import InputError
from posebridge.text_files import read_text

CentreSource = Literal["blob", "labels", "none"] | Path  # none: frames have no centre

_MM = 1e-3
_NEAR_M, _FAR_M = 0.05, 3.0  # where a hand's centre may be


class HandCentres:
    """Centres of a reader's frames.

    ``"blob"`` needs depth alone, see ``depth_centre``. ``"labels"`` is the mean of the labelled joints: it uses labels,
    so it is never a default. ``"none"`` gives no centre. A file has a line ``x y z`` in millimetres for each frame of
    the release's list, in the axes of the release, or ``invalid``: the form of published refined centres (Moon et al.,
    *V2V-PoseNet*, CVPR 2018).
    """

    def __init__(
        self,
        source: CentreSource,
        K: np.ndarray,
        rows: int,
        labels: Callable[[int], FrameLabels] | None,
        axes: tuple[int, int, int] = (1, 1, 1),
        blob: BlobConfig | None = None,
    ):
        """``rows``: frames in the release's list. ``axes``: signs that turn the file's axes into the camera frame's.

        Raises ``InputError`` for labels where there are none, and for a file that doesn't fit.
        """
        if source == "labels" and labels is None:
            raise InputError("centres 'labels': these frames have none; take 'blob' or a file of centres")
        self._source = source
        self._K = K
        self._labels = labels
        self._blob = blob
        self._by_row = None if source in ("blob", "labels", "none") else _read_centres(Path(source), rows, axes)

    def of(self, index: int, row: int, file: Path, depth_m: np.ndarray) -> np.ndarray | None:
        """(3,) metres in the camera frame. ``index``: of the reader, ``row``: of the release's list, both from 0.

        Raises ``UnreadableFrameError`` for a frame without blob, labelled joint or valid line.
        """
        if self._source == "none":
            return None
        if self._by_row is not None:
            centre_m = self._by_row[row]
            if not np.isfinite(centre_m).all():
                raise UnreadableFrameError(file, f"{self._source} has no valid centre for it")
            if centre_m[2] <= 0:
                raise UnreadableFrameError(file, f"{self._source} has its centre behind the camera, in line {row + 1}")
            return centre_m
        if self._source == "labels" and self._labels is not None:
            labels = self._labels(index)
            if labels.joints_m is None or not labels.valid.any():
                raise UnreadableFrameError(file, "no labelled joint to take the centre from")
            return labels.joints_m[labels.valid].mean(axis=0)
        try:
            return depth_centre(depth_m, self._K, self._blob)
        except InputError as error:
            raise UnreadableFrameError(file, str(error)) from None


def _read_centres(path: Path, rows: int, axes: tuple[int, int, int]) -> np.ndarray:
    """(rows, 3) metres in the camera frame, NaN where the file has none."""
    try:
        lines = read_text(path).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"centres {path}: not readable as text ({error}); give a file, or none") from None
    lines = [line.split() for line in lines if line.strip()]
    if len(lines) != rows:
        raise InputError(f"centres {path}: {len(lines)} lines for {rows} frames; give the file of this very split")
    centres_m = np.full((rows, 3), np.nan)
    for row, words in enumerate(lines):
        if words[0].lower() == "invalid":
            continue
        try:
            x, y, z = map(float, words)
        except ValueError:
            raise InputError(f"centres {path}: line {row + 1} is neither x y z nor invalid") from None
        centres_m[row] = np.array([x, y, z]) * _MM * axes
    if not np.isfinite(centres_m).any():
        raise InputError(f"centres {path}: no line has a centre")
    depth_m = np.nanmedian(centres_m[:, 2])
    if not _NEAR_M < depth_m < _FAR_M:
        expected = f"expected {_NEAR_M / _MM:g} to {_FAR_M / _MM:g}"
        raise InputError(f"centres {path}: the middle one lies {depth_m / _MM:.3g} mm before the camera; {expected}")
    return centres_m
