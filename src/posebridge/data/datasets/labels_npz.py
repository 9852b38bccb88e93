"""Images with a ``labels.npz`` beside them (see ``contracts.keypoint_set``): truth to measure by.

Without the labels, the images are an ``ImageFolder``.
"""

from pathlib import Path

import numpy as np

from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame, Side
from posebridge.errors import InputError
from posebridge.skeletons.orders import convert
from posebridge.skeletons.skeleton import Skeleton

_MM = 1e-3


class LabelsNpz(IndexedFrames):
    """The images that have a label, in the order of the folder. A joint that isn't finite counts as not labelled."""

    def __init__(self, images: str | Path, labels: str | Path, skeleton: Skeleton, hand: Side | None = None):
        """``hand``: the one that all images show.

        Raises ``InputError`` where the labels are damaged, lack ``uv_px`` or joint names, or fit no image.
        """
        self.images = ImageFolder(images)
        self.hand: Side | None = hand
        self.skipped: dict[str, str] = {}
        truth = KeypointSet.load(labels)
        if truth.uv_px is None or truth.joint_names is None:
            raise InputError(f"{labels}: labels of images need uv_px and joint_names")
        names = truth.joint_names
        self._uv_px, self._valid = convert(truth.uv_px, truth.present("uv_px"), names, skeleton)
        self._joints_m = None
        if truth.xyz_mm is not None:
            self._joints_m, valid = convert(truth.xyz_mm * _MM, truth.present("xyz_mm"), names, skeleton)
            self._valid &= valid
        self._K = truth.K
        row_of = {key: row for row, key in enumerate(truth.key.tolist())}
        self._index_row = [(i, row_of[key]) for i, key in enumerate(self.images.keys) if key in row_of]
        if not self._index_row:
            raise InputError(f"{labels}: no image of {images} has a label; their keys are like {self.images.keys[0]}")
        for key in row_of.keys() - set(self.images.keys):
            self.skipped[f"{labels} {key}"] = "the image is missing"

    def __len__(self) -> int:
        return len(self._index_row)

    def __getitem__(self, index: int) -> RawFrame:
        """The frame; raises ``UnreadableFrameError`` where its file is broken."""
        image, row = self._index_row[index]
        frame = self.images[image]
        return RawFrame(frame.rgb, frame.key, frame.sequence, frame.frame, K=self._intrinsics(row), hand=self.hand)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton; every labelled joint counts as visible."""
        row = self._index_row[index][1]
        valid = self._valid[row]
        uv_px = np.where(valid[:, None], self._uv_px[row], 0)
        joints_m = None if self._joints_m is None else np.where(valid[:, None], self._joints_m[row], 0)
        return FrameLabels(uv_px, valid, valid.copy(), joints_m)

    def _intrinsics(self, row: int) -> np.ndarray | None:
        if self._K is None:
            return None
        fx, fy, cx, cy = self._K[row].tolist()
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
