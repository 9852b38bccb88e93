"""Images with a ``labels.npz`` beside them (see ``contracts.keypoint_set``): truth to measure by.

Without the labels, the images are an ``ImageFolder``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix, check_intrinsics
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.reference_frames import check_reference_frame
from posebridge.data.datasets.image_folder import ImageFolder
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameIndex, FrameLabels, IndexedFrames, RawFrame, Side
from posebridge.errors import InputError
from posebridge.skeletons.orders import convert
from posebridge.skeletons.skeleton import Skeleton

_MM = 1e-3


class LabelsNpz(IndexedFrames):
    """The images that have a label, in the order of the folder. A joint that isn't finite counts as not labelled."""

    def __init__(self, images: str | Path, labels: str | Path, skeleton: Skeleton, hand: Side | None = None):
        """``hand``: the one that all images show.

        Raises ``InputError`` where the labels are damaged, lack ``uv_px`` or joint names, are in the frame
        of a world, or fit no image.
        """
        self.images = ImageFolder(images)
        self.hand: Side | None = hand
        self.skipped = self.images.skipped
        truth = KeypointSet.load_labels(labels)
        if truth.uv_px is None or truth.joint_names is None:
            raise InputError(f"{labels}: labels of images need uv_px and joint_names")
        check_reference_frame(truth, str(labels))
        names = truth.joint_names
        self._uv_px, self._valid = convert(truth.uv_px, truth.present("uv_px"), names, skeleton)
        self._joints_m = None
        if truth.xyz_mm is not None:
            self._joints_m, valid = convert(truth.xyz_mm * _MM, truth.present("xyz_mm"), names, skeleton)
            self._valid &= valid
        self._K = None if truth.K is None else [_checked_camera(K, labels) for K in truth.K]
        row_of = {key: row for row, key in enumerate(truth.key.tolist())}
        self._index_row = [(i, row_of[key]) for i, key in enumerate(self.images.keys) if key in row_of]
        if not self._index_row:
            raise InputError(f"{labels}: no image of {images} has a label; their keys are like {self.images.keys[0]}")
        for key in row_of.keys() - set(self.images.keys):
            self.skipped[f"{labels} {key}"] = "the image is missing"

    def __len__(self) -> int:
        return len(self._index_row)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        image, row = self._index_row[index]
        frame = self.images[image]
        K = None if self._K is None else self._K[row]
        return replace(frame, K=K, hand=self.hand)

    def frame_index(self) -> FrameIndex:
        """Sequence and number of every labelled image, as ``ImageFolder`` has them."""
        return self.images.frame_index().take(np.array([image for image, _ in self._index_row]))

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton; every labelled joint counts as visible."""
        row = self._index_row[index][1]
        valid = self._valid[row]
        uv_px = np.where(valid[:, None], self._uv_px[row], 0)
        joints_m = None if self._joints_m is None else np.where(valid[:, None], self._joints_m[row], 0)
        return FrameLabels(uv_px, valid, valid.copy(), joints_m)


def _checked_camera(intrinsics_px: np.ndarray, labels: str | Path) -> np.ndarray:
    """K (3, 3) from fx fy cx cy (4,). Raises ``InputError`` for another unit than pixels."""
    fx, fy, cx, cy = intrinsics_px.tolist()
    K = camera_matrix(fx, fy, cx, cy)
    check_intrinsics(K, str(labels))
    return K


def open_labels_npz(
    root: str | Path, split: Split, skeleton: Skeleton, hand: Side | None = None, whole_set: bool = False
) -> LabelsNpz:
    """A folder of ``train/`` and ``test/``, each with ``images/`` and ``labels.npz``; with ``whole_set``, one of these.

    Raises ``InputError`` as ``LabelsNpz`` does.
    """
    folder = Path(root) if whole_set else Path(root) / split
    return LabelsNpz(folder / "images", folder / "labels.npz", skeleton, hand)
