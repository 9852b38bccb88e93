"""COCO-style keypoint JSON, of hands and bodies, as public datasets and annotation tools write it.

``images`` (id, file_name, width, height, perhaps ``cam_param`` with ``focal`` and ``princpt``), ``annotations``
(image_id, category_id, ``keypoints`` [x, y, v] * J, flat or nested, perhaps ``bbox`` [x, y, w, h], ``hand_type``,
``joint_cam`` (J, 3)) and ``categories`` with the joints' names. A file's names may be wrong: those of RHD in this form
list base to tip where the joints go tip to base, so hand it ``ORDERS["rhd2d"]``. Without the annotations, the images
are an ``ImageFolder``.

Boxes, keypoints and intrinsics are in the pixels that have the annotated ``width`` and ``height``: for photographs with
an EXIF orientation, those of the upright picture, as OpenCV and most annotation tools have it, or those stored. Where
both have that size, the image is listed in ``skipped``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from posebridge.data.datasets.coco_records import CocoFile, CocoRecord, is_labelled
from posebridge.data.datasets.json_entries import AnnotationNames
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame, Side
from posebridge.data.image_file import read_annotated
from posebridge.errors import InputError
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.plausible_lengths import METRES_PER_UNIT, impossible_bones, joint_unit
from posebridge.skeletons.skeleton import Skeleton

_NAMES_IN_FILE = {"K": "cam_param", "joint_cam": "joint_cam"}  # fields of a record that a file may lack


class CocoKeypoints(IndexedFrames):
    """One frame an annotated subject.

    The key is the image's stem, or its path without suffix where stems repeat between folders. The annotation's id
    follows (``000123_7``) where an image shows several. Annotations without a labelled joint and crowds are left out;
    broken ones are listed in ``skipped``. COCO's v = 1 means labelled but hidden; in a file without any 2, a 1 means
    visible. Where most annotations have ``joint_cam`` or ``cam_param``, those without are listed in ``skipped``.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        skeleton: Skeleton,
        joint_names: Sequence[str] | None = None,
        hand: Side | None = None,
    ):
        """``joint_names`` replaces the names in the file. ``hand`` is the one of subjects without ``hand_type``.

        The lengths of bones determine the unit of ``joint_cam``.

        Raises ``InputError`` for a file that is no keypoint JSON, joints that don't fit the skeleton or are of no known
        unit, or where not one annotation is usable.
        """
        self.path = Path(annotations)
        self.skeleton = skeleton
        self.hand: Side | None = hand
        self.skipped: dict[str, str] = {}
        file = CocoFile(self.path, Path(images), skeleton, joint_names)
        records = self._read(file)
        for field in ("K", "joint_cam"):
            records = self._with_what_most_have(field, records)
        self._has_K = all(record.K is not None for record in records.values())
        self._has_joints = all(record.joint_cam is not None for record in records.values())
        if self._has_joints and records:
            records = self._in_metres(records)
        if not records:
            reason = next(iter(self.skipped.values()), "none has a labelled joint")
            raise InputError(f"{self.path}: no usable annotation of {len(file.annotations)}: {reason}")
        self._records = list(records.values())
        self._says_visible = any((record.v == 2).any() for record in self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> RawFrame:
        """The frame in the pixels of its annotation, with its intrinsics if every subject has some.

        Raises ``UnreadableFrameError`` where its file is broken, of another size than annotated, or carries an
        orientation that the size doesn't tell from none.
        """
        record = self._records[index]
        picture = read_annotated(record.file, *record.size_px)
        K = record.K if self._has_K else None
        return RawFrame(
            picture.image,
            record.key,
            frame=index,
            K=K,
            box_xyxy=record.box_xyxy,
            hand=record.hand or self.hand,
            turn=picture.turn,
            mirror=picture.mirror,
        )

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton; ``joints_m`` if every subject has them."""
        record = self._records[index]
        visible_in_file = record.v == 2 if self._says_visible else record.v > 0
        uv_px, valid = convert(record.uv_px, record.v > 0, record.names, self.skeleton)
        _, visible = convert(record.uv_px, visible_in_file, record.names, self.skeleton)
        joints_m = self._joints_of(record)[0] if self._has_joints else None
        return FrameLabels(uv_px, valid, visible, joints_m)

    def _read(self, file: CocoFile) -> dict[str, CocoRecord]:
        """Usable annotations by the name under which ``skipped`` would list them."""
        names = AnnotationNames(self.path)
        records: dict[str, CocoRecord] = {}
        keys: set[str] = set()
        for position, annotation in enumerate(file.annotations):
            if not is_labelled(annotation):
                continue
            name = names.of(position, annotation)
            try:
                record = file.record(annotation)
                if record.key in keys:
                    raise InputError(f"another annotation has its key {record.key}: give each an id of its own")
            except InputError as error:
                self.skipped[name] = str(error)
                continue
            keys.add(record.key)
            records[name] = record
        return records

    def _with_what_most_have(self, field: str, records: dict[str, CocoRecord]) -> dict[str, CocoRecord]:
        """The records with a field that more than half of them have; all records where fewer have it."""
        having = {name: record for name, record in records.items() if getattr(record, field) is not None}
        if 2 * len(having) <= len(records):
            return records
        for name in records.keys() - having.keys():
            self.skipped[name] = f"it has no {_NAMES_IN_FILE[field]}, and most annotations of the file have one"
        return having

    def _in_metres(self, records: dict[str, CocoRecord]) -> dict[str, CocoRecord]:
        """The records with joints in metres, but for those of impossible size."""
        pairs = [self._joints_of(record) for record in records.values()]
        joints, valid = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        unit = joint_unit(joints, valid, self.skeleton)
        if unit is None:
            raise InputError(f"{self.path}: its joint_cam has no possible bone lengths: expected millimetres")
        metres = METRES_PER_UNIT[unit]
        kept: dict[str, CocoRecord] = {}
        broken = impossible_bones(joints * metres, valid, self.skeleton)
        for (name, record), is_broken in zip(records.items(), broken, strict=True):
            if is_broken:
                self.skipped[name] = f"its joint_cam has impossible lengths: most annotations of the file are in {unit}"
            elif record.joint_cam is not None:
                kept[name] = replace(record, joint_cam=record.joint_cam * metres)
        return kept

    def _joints_of(self, record: CocoRecord) -> tuple[np.ndarray, np.ndarray]:
        """``joint_cam`` and the mask of labelled joints, in the order of the skeleton."""
        assert record.joint_cam is not None
        return convert(record.joint_cam, record.v > 0, record.names, self.skeleton)


def open_coco_keypoints(
    root: str | Path,
    split: Split,
    skeleton: Skeleton,
    joint_order: str | None = None,
    whole_set: bool = False,
    hand: Side | None = None,
) -> CocoKeypoints:
    """A folder of ``train.json``, ``test.json`` and ``images/``; with ``whole_set``, of ``annotations.json`` for both.

    ``joint_order``: a name in ``ORDERS`` that replaces the file's own names of joints. ``hand``: as ``CocoKeypoints``.
    Raises ``InputError`` for an unknown order, and as ``CocoKeypoints`` does.
    """
    if joint_order is not None and joint_order not in ORDERS:
        raise InputError(f"no joint order {joint_order!r}: there are {', '.join(sorted(ORDERS))}")
    names = None if joint_order is None else ORDERS[joint_order]
    file = "annotations.json" if whole_set else f"{split}.json"
    return CocoKeypoints(Path(root) / file, Path(root) / "images", skeleton, names, hand)
