"""Rendered Hand Pose (Zimmermann and Brox, ICCV 2017) in its release's layout.

``RHD_published_v2/{training,evaluation}/{color,depth,mask}/00000.png`` and ``anno_{training,evaluation}.pickle``:
a dictionary from number to ``xyz`` (42, 3) metres, ``uv_vis`` (42, 3) and ``K`` (3, 3). Joints 0 to 20 are the left
hand, 21 to 41 the right one; each is wrist, then thumb to pinky, every finger tip first. Without the annotations,
the images are an ``ImageFolder(root / split / "color")``.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from posebridge.data.datasets.hand_annotations import checked_camera
from posebridge.data.datasets.options import Split
from posebridge.data.frames import SIDES, FrameLabels, IndexedFrames, RawFrame, Side
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.pickles import load_arrays
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.plausible_lengths import check_unit, size_problems

_JOINTS = 21
_MIN_VISIBLE = 17  # "more than 16 joints visible"
_MAX_OVERLAP = 0.3
_FOLDERS: dict[Split, str] = {"train": "training", "test": "evaluation"}
_MASK_CLASSES: dict[Side, tuple[int, int]] = {"left": (2, 17), "right": (18, 33)}
_MAX_DEPTH_M = 5.0  # of the 16 bits in red and green


class _Hand(NamedTuple):
    row: int  # of the arrays of annotations
    side: Side
    box_xyxy: np.ndarray


class RHD(IndexedFrames):
    """One frame a hand; key ``00012_left``, sequence the split's folder.

    A hand is kept if more than 16 of its joints are visible and less than 0.3 of its box lies within the other's; its
    box is 1.5 times the extent of its joints. The literature states this rule without its details: overlap is here
    the intersection over the hand's own box, and the other hand's box that of its visible joints.
    """

    def __init__(self, root: str | Path, split: Split = "train", depth: bool = False, masks: bool = True):
        """``split``: "train" is the release's ``training``, "test" its ``evaluation``.

        ``depth``: load the rendered depth with each frame. ``masks``: load the masks with the labels.

        Raises ``InputError`` where annotations are missing, damaged, of a wrong shape or unit or not finite.
        """
        self.folder = Path(root) / _FOLDERS[split]
        self.depth = depth
        self.masks = masks
        self.skipped: dict[str, str] = {}
        path = self.folder / f"anno_{self.folder.name}.pickle"
        self._numbers, self._xyz, self._uv_vis, self._K = _read_annotations(path)
        kept = [
            hand
            for row in range(len(self._numbers))
            for hand in _kept_hands(row, self._uv_vis[row])
            if self._is_there(row)
        ]
        self.hands = self._of_possible_size(kept, path)
        if not self.hands:
            raise InputError(f"{self.folder}: no annotated hand has an image in color/ and 17 visible joints")

    def __len__(self) -> int:
        return len(self.hands)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        row, side, box = self.hands[index]
        name = f"{self._numbers[row]:05d}"
        return RawFrame(
            image=read_image(self._file("color", row)),
            key=f"{name}_{side}",
            sequence=self.folder.name,
            frame=int(self._numbers[row]),
            K=self._K[row],
            box_xyxy=box,
            hand=side,
            depth_m=self._read_depth(row) if self.depth else None,
        )

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of ``HAND21``; a mask of the hand without forearm, where the release has one."""
        row, side, _ = self.hands[index]
        joints = _joints_of(side)
        uv_vis, xyz = self._uv_vis[row, joints], self._xyz[row, joints]
        uv_px, valid = convert(uv_vis[:, :2], None, ORDERS["rhd2d"], HAND21)
        joints_m, visible = convert(xyz, uv_vis[:, 2] > 0.5, ORDERS["rhd2d"], HAND21)
        hand_mask = self._read_mask(row, side) if self.masks else None
        return FrameLabels(uv_px, valid, visible, joints_m, hand_mask=hand_mask)

    def _of_possible_size(self, hands: list[_Hand], path: Path) -> list[_Hand]:
        joints_m = np.array([self._xyz[hand.row, _joints_of(hand.side)] for hand in hands]).reshape(-1, _JOINTS, 3)
        names = [f"image {self._numbers[hand.row]} ({hand.side})" for hand in hands]
        check_unit(joints_m, "hand", f"{path}: hands", "metres")
        broken = size_problems(joints_m, "hand")
        self.skipped |= {f"{path} {names[i]}": reason for i, reason in broken.items()}
        return [hand for i, hand in enumerate(hands) if i not in broken]

    def _file(self, kind: str, row: int) -> Path:
        return self.folder / kind / f"{self._numbers[row]:05d}.png"

    def _is_there(self, row: int) -> bool:
        file = self._file("color", row)
        if there := file.is_file():
            return there
        self.skipped[str(file)] = "the file is missing"
        return False

    def _read_depth(self, row: int) -> np.ndarray:
        red, green, _ = np.moveaxis(read_image(self._file("depth", row)).astype(np.float32), -1, 0)
        return (red * 256 + green) / (2**16 - 1) * np.float32(_MAX_DEPTH_M)

    def _read_mask(self, row: int, side: Side) -> np.ndarray | None:
        file = self._file("mask", row)
        if not file.is_file():
            return None
        first, last = _MASK_CLASSES[side]
        classes = read_image(file)[..., 0]
        return (classes >= first) & (classes <= last)


def _joints_of(side: Side) -> slice:
    return slice(0, _JOINTS) if side == "left" else slice(_JOINTS, 2 * _JOINTS)


def _kept_hands(row: int, uv_vis: np.ndarray) -> list[_Hand]:
    """The hands of one image that pass the rule in ``RHD``'s docstring."""
    kept: list[_Hand] = []
    for side, other in (SIDES, SIDES[::-1]):
        hand, rest = uv_vis[_joints_of(side)], uv_vis[_joints_of(other)]
        seen, rest_seen = hand[:, 2] > 0.5, rest[:, 2] > 0.5
        if seen.sum() < _MIN_VISIBLE:
            continue
        box = joint_box(hand[:, :2], JOINT_BOX_PADDING)
        if not rest_seen.any() or _inside_frac(box, joint_box(rest[rest_seen, :2], JOINT_BOX_PADDING)) < _MAX_OVERLAP:
            kept.append(_Hand(row, side, box))
    return kept


def _inside_frac(box: np.ndarray, other: np.ndarray) -> float:
    """The fraction of a box's area that lies inside the other one."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.maximum(sides, 0).prod() / (box[2:] - box[:2]).prod())


def _read_annotations(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (N,), xyz (N, 42, 3) m, uv_vis (N, 42, 3), K (N, 3, 3)."""
    content = load_arrays(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected a dictionary from the image's number to its annotation")
    arrays: dict[str, np.ndarray] = {}
    for name, shape in (("xyz", (2 * _JOINTS, 3)), ("uv_vis", (2 * _JOINTS, 3)), ("K", (3, 3))):
        for number, annotation in content.items():
            value = annotation.get(name) if isinstance(annotation, dict) else None
            if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind not in "fiu":
                raise InputError(f"{path}: {name} of image {number} is not an array of numbers of shape {shape}")
            if not np.isfinite(value).all():
                raise InputError(f"{path}: {name} of image {number} is not finite")
        arrays[name] = np.stack([annotation[name] for annotation in content.values()]).astype(np.float64)
    if not all(isinstance(number, int | np.integer) for number in content):
        raise InputError(f"{path}: the images' numbers are not whole numbers")
    for number, K in zip(content, arrays["K"], strict=True):
        checked_camera(K, f"{path}: image {number}")
    return np.array(list(content)), arrays["xyz"], arrays["uv_vis"], arrays["K"]
