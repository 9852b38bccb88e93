"""Hands of the CMU Panoptic Studio's database (Simon et al., CVPR 2017) in the layouts of its releases.

Part ``studio``: ``hand143_panopticdb/`` with ``hands_v143_14817.json``, a list ``root`` of ``img_paths`` and
``joint_self`` (21, 3). Part ``manual``: the folders ``manual_train`` and ``manual_test`` of ``hand_labels/`` with a
JSON of ``hand_pts`` (21, 3) and ``is_left`` beside each JPEG; ``synth1`` to ``synth4`` of ``hand_labels_synth/``
likewise. Rows are u px, v px and 1 where the joint is visible, 0 where it isn't labelled; wrist, then thumb to pinky,
base to tip. There are no cameras and
no joints in space. Without the annotations, the images are an ``ImageFolder``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from posebridge.data.datasets.annotations import PresentFiles, numbers, read_json
from posebridge.data.datasets.hand_annotations import JOINTS
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord
from posebridge.data.datasets.options import PanopticPart, Split
from posebridge.data.frames import IndexedFrames, Side
from posebridge.data.natural_order import natural_path_key
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert

_STUDIO_FILE = "hands_v143_14817.json"


class PanopticHands(HandFrames):
    """One frame an annotated hand; key the image's stem, sequence the part's folder. Images are no videos.

    The studio's file does not state the side; all hands are taken as right ones, as in public code.
    """

    frame_index = IndexedFrames.frame_index

    def __init__(self, root: str | Path, split: Split = "train", part: PanopticPart = "manual"):
        """``root``: the folder that holds ``hands_v143_14817.json``, or that holds the part's folders.

        ``split``: part ``manual`` has both, the other parts are for training.
        Raises ``InputError`` where annotations are missing or damaged, or not one of them is usable.
        """
        if split == "test" and part != "manual":
            raise InputError(f"{root}: part {part!r} has no split 'test'; manual has")
        self.root = Path(root)
        self.part = f"manual_{split}" if part == "manual" else part
        self.skipped: dict[str, str] = {}
        self._records = self._read_studio() if part == "studio" else self._read_folder(self.root / self.part)
        if not self._records:
            reason = next(iter(self.skipped.values()), "there is none")
            raise InputError(f"{self.root}: no usable annotation of part {self.part!r}: {reason}")

    def __len__(self) -> int:
        return len(self._records)

    def record(self, index: int) -> HandRecord:
        """A hand, in pixels alone."""
        return self._records[index]

    def _read_studio(self) -> list[HandRecord]:
        path = self.root / _STUDIO_FILE
        content = read_json(path)
        annotations = content.get("root") if isinstance(content, dict) else None
        if not isinstance(annotations, list):
            raise InputError(f"{path}: expected an object with a list 'root' of annotations")
        present = PresentFiles()
        records: list[HandRecord] = []
        for position, annotation in enumerate(annotations):
            try:
                name = annotation.get("img_paths") if isinstance(annotation, dict) else None
                if not isinstance(name, str):
                    raise InputError("it has no img_paths")
                records.append(
                    self._record_of(self.root / name, annotation.get("joint_self"), "right", present, position)
                )
            except InputError as error:
                self.skipped[f"{path} {position}"] = str(error)
        return records

    def _read_folder(self, folder: Path) -> list[HandRecord]:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        present = PresentFiles()
        records: list[HandRecord] = []
        for position, path in enumerate(sorted(folder.glob("*.json"), key=natural_path_key)):
            try:
                annotation = read_json(path)
                side = _side(annotation)
                file = path.with_name(f"{path.stem}.jpg")  # names hold dots of their own
                records.append(self._record_of(file, annotation.get("hand_pts"), side, present, position))
            except InputError as error:
                self.skipped[str(path)] = str(error)
        return records

    def _record_of(self, file: Path, rows: Any, side: Side, present: PresentFiles, position: int) -> HandRecord:
        if file not in present:
            raise InputError(f"its image {file} is missing")
        uv_v = numbers(rows, (JOINTS, 3), "its joints")
        labelled = uv_v[:, 2] > 0
        if not labelled.any() or not np.isfinite(uv_v[labelled]).all():
            raise InputError("none of its joints is labelled, or one is not finite")
        uv_px, valid = convert(np.nan_to_num(uv_v[:, :2]), labelled, ORDERS["panoptic_hand2d"], HAND21)
        _, visible = convert(uv_v[:, :2], uv_v[:, 2] == 1, ORDERS["panoptic_hand2d"], HAND21)
        return HandRecord(
            file=file,
            key=file.stem,
            hand=side,
            uv_px=uv_px,
            valid=valid,
            box_xyxy=joint_box(uv_px[valid], JOINT_BOX_PADDING),
            visible=visible,
            sequence=self.part,
            frame=position,
        )


def _side(annotation: Any) -> Side:
    is_left = annotation.get("is_left") if isinstance(annotation, dict) else None
    if is_left not in (0, 1):
        raise InputError("its is_left is neither 0 nor 1")
    return "left" if is_left else "right"
