"""Hand-3D-Studio, H3D (Zhao et al., ICASSP 2020) in the layout of the public benchmarks of adaptation, ``H3D_crop``.

``annotation.json``: a list of samples with ``name`` (the image's path below the folder), ``without_object`` (1 for
hands alone), ``keypoint2d`` (21, 2) and ``intrinsic_matrix`` (3, 3) in pixels of that image, ``keypoint3d`` (21, 3) in
the camera's frame; images of ``part1`` to ``part5``, cut to 1.5 times the hand. Joints are wrist, then thumb to pinky,
base to tip. Public readers agree on this; the original release with its 3840 x 2160 images is not read. Without the
annotations, the images are an ``ImageFolder``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from posebridge.data.datasets.annotations import PresentFiles, numbers, read_json
from posebridge.data.datasets.hand_annotations import JOINTS, AnySplit, adaptation_split, checked_camera
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord
from posebridge.data.datasets.image_folder import numbers_within
from posebridge.data.datasets.options import Objects
from posebridge.data.frames import Side
from posebridge.data.natural_order import natural_key
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert

_BONE = tuple(HAND21.index(joint) for joint in ("middle_1", "middle_2"))


class Hand3DStudio(HandFrames):
    """One frame an image; key its path below the folder without suffix, sequence its folder.

    The scale of the joints in space is not documented: they are scaled so that the middle finger's first phalanx is
    40 mm long, STB's length, by which the papers measure H3D (Yang et al., SemiHand, ICCV 2021). Their pixels don't
    change by it.
    """

    def __init__(
        self,
        root: str | Path,
        split: AnySplit = "train",
        objects: Objects = "noobject",
        hand: Side | None = None,
        phalanx_m: float = 0.04,
    ):
        """``split``: of the samples that ``objects`` leaves, see ``adaptation_split``. ``hand``: the one in all
        images, since the release does not state it. ``phalanx_m``: length of the middle finger's first phalanx.

        Raises ``InputError`` for a file that isn't such a list, or where not one sample is usable.
        """
        if not phalanx_m > 0:
            raise InputError(f"the middle finger's first phalanx can't be {phalanx_m} m long: give a length above zero")
        self.folder = Path(root)
        self.hand: Side | None = hand
        self.phalanx_m = phalanx_m
        self.skipped: dict[str, str] = {}
        path = self.folder / "annotation.json"
        samples = read_json(path)
        if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
            raise InputError(f"{path}: expected a list of samples with name, keypoint2d, keypoint3d, intrinsic_matrix")
        samples = [sample for sample in samples if objects == "all" or _has_object(sample) == (objects == "object")]
        frame_of = _frame_numbers(samples)
        present = PresentFiles()
        self._records: list[HandRecord] = []
        for position in adaptation_split(len(samples), split):
            name = samples[position].get("name")
            try:
                self._records.append(self._read(samples[position], frame_of, present))
            except InputError as error:
                self.skipped[f"{path} {position if name is None else name}"] = str(error)
        if not self._records:
            reason = next(iter(self.skipped.values()), f"none is {objects!r}")
            raise InputError(f"{path}: no usable sample of split {split!r}: {reason}")

    def __len__(self) -> int:
        return len(self._records)

    def record(self, index: int) -> HandRecord:
        """The hand of an image."""
        return self._records[index]

    def _read(self, sample: dict[str, Any], frame_of: dict[str, int], present: PresentFiles) -> HandRecord:
        name = sample.get("name")
        if not isinstance(name, str):
            raise InputError("it has no name")
        file = self.folder / name
        if file not in present:
            raise InputError("its image is missing")
        uv_px = numbers(sample.get("keypoint2d"), (JOINTS, 2), "its keypoint2d")
        joints = numbers(sample.get("keypoint3d"), (JOINTS, 3), "its keypoint3d")
        K = checked_camera(numbers(sample.get("intrinsic_matrix"), (3, 3), "its intrinsic_matrix"), "its camera")
        uv_px, valid = convert(uv_px, None, ORDERS["hand3d_studio"], HAND21)
        joints, _ = convert(joints, None, ORDERS["hand3d_studio"], HAND21)
        if not (valid.all() and np.isfinite(joints).all()):
            raise InputError("its keypoints are not finite")
        phalanx = float(np.linalg.norm(joints[_BONE[0]] - joints[_BONE[1]]))
        if phalanx == 0 or (joints[:, 2] <= 0).any():
            raise InputError("its hand is a point, or not in front of the camera")
        key = Path(name).with_suffix("").as_posix()
        return HandRecord(
            file=file,
            key=key,
            hand=self.hand,
            uv_px=uv_px,
            valid=valid,
            box_xyxy=joint_box(uv_px, JOINT_BOX_PADDING),
            sequence=Path(name).parent.as_posix(),
            frame=frame_of[name],
            K=K,
            joints_m=joints * (self.phalanx_m / phalanx),
        )


def _has_object(sample: dict[str, Any]) -> bool:
    return str(sample.get("without_object")) not in ("1", "1.0", "True")


def _frame_numbers(samples: list[dict[str, Any]]) -> dict[str, int]:
    """Each image's number among those of its folder, in natural order of names, in whichever split it is."""
    names = sorted({sample["name"] for sample in samples if isinstance(sample.get("name"), str)}, key=natural_key)
    return dict(zip(names, numbers_within(str(Path(name).parent) for name in names), strict=True))
