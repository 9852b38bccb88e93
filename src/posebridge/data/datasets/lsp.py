"""Leeds Sports Pose (Johnson and Everingham, BMVC 2010) and its extended training set (CVPR 2011).

``images/im0001.jpg`` and ``joints.mat``: ``joints`` (3, 14, 2000), x, y and a flag that is **1 where a joint is
hidden**. The extended set: ``images/im00001.jpg``, ``joints`` (14, 3, 10000), the flag 1 where a joint is labelled.
Pixels count from (1, 1). Left and right are the person's. Without ``joints.mat``, the images are an ``ImageFolder``.
"""

from pathlib import Path

import numpy as np

from posebridge.data.datasets.annotations import MATLAB_FIRST_PIXEL, numbers, read_mat
from posebridge.data.datasets.options import LSPVariant, Split
from posebridge.data.datasets.person_sequences import numbered_images
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.geometry.boxes import joint_box
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.skeleton import Skeleton

_JOINTS = 14
_SPLIT_AFTER = 1000  # the first 1,000 images train, the rest test


class LSP(IndexedFrames):
    """One frame an image, uncropped; key its stem, sequence the variant, frame its number.

    "train" and "test" are the authors' halves. The published protocol of adaptation (RegDA, UniFrame) is
    ``whole_set``: it trains on all 2,000 images without labels, tests on the same 2,000, and takes each image whole.
    The extended set is for training alone. LSP's neck lies where MPII's ``upper_neck`` is.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        whole_set: bool = False,
        variant: LSPVariant = "lsp",
        skeleton: Skeleton = MPII16,
        box_padding: float | None = None,
    ):
        """``whole_set``: either split is all images.

        ``box_padding``: boxes of that many times the extent of the labelled joints; None: no boxes, whole images.

        Raises ``InputError`` where ``joints.mat`` is missing, damaged or of another shape, or no image is there.
        """
        root = Path(root)
        if variant == "lspet" and split != "train":
            raise InputError(f"{root}: the extended set has no split {split}, it is all for training")
        self.skeleton, self.variant, self.box_padding = skeleton, variant, box_padding
        self.skipped: dict[str, str] = {}
        self._uv_px, self._valid, self._visible = _read_joints(root / "joints.mat", variant)
        self._files = numbered_images(root / "images", "im") or numbered_images(root / "images", "im", ".png")
        last = len(self._uv_px)
        halves = {"train": (1, min(_SPLIT_AFTER, last)), "test": (_SPLIT_AFTER + 1, last)}
        first, last = (1, last) if whole_set or variant == "lspet" else halves[split]
        self._numbers = [number for number in range(first, last + 1) if self._is_usable(root, number)]
        if not self._numbers:
            raise InputError(f"{root / 'images'}: no annotated image im0001.jpg and so on is there")

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        number = self._numbers[index]
        file = self._files[number]
        box = None
        if self.box_padding is not None:
            box = joint_box(self._uv_px[number - 1][self._valid[number - 1]], self.box_padding)
        return RawFrame(read_image(file), file.stem, self.variant, number, box_xyxy=box)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton."""
        row = self._numbers[index] - 1
        uv_px, valid = convert(self._uv_px[row], self._valid[row], ORDERS["lsp"], self.skeleton)
        _, visible = convert(self._uv_px[row], self._visible[row], ORDERS["lsp"], self.skeleton)
        return FrameLabels(np.where(valid[:, None], uv_px, 0), valid, visible & valid)

    def _is_usable(self, root: Path, number: int) -> bool:
        digits = 4 if self.variant == "lsp" else 5
        name = str(root / "images" / f"im{number:0{digits}d}.jpg")
        if number not in self._files:
            self.skipped[name] = "the file is missing"
        elif not self._valid[number - 1].any():
            self.skipped[name] = "no joint is labelled"
        return name not in self.skipped


def _read_joints(path: Path, variant: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (N, 14, 2), valid (N, 14), visible (N, 14)."""
    joints = read_mat(path, ["joints"])["joints"]
    if variant == "lsp":
        joints = numbers(joints, (3, _JOINTS, None), f"{path}: joints").transpose(2, 1, 0)
    else:
        joints = numbers(joints, (_JOINTS, 3, None), f"{path}: joints").transpose(2, 0, 1)
    uv_px, flag = joints[..., :2] - MATLAB_FIRST_PIXEL, joints[..., 2]
    if not np.isin(flag, (0, 1)).all():
        raise InputError(f"{path}: the third row of joints is not a flag of 0 or 1")
    valid = np.isfinite(uv_px).all(axis=-1) & ((flag == 1) | (variant == "lsp"))
    return uv_px, valid, valid & (flag == (0 if variant == "lsp" else 1))
