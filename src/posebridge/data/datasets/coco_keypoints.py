"""COCO-style keypoint JSON, of hands and bodies, as public datasets and annotation tools write it.

``images`` (id, file_name, width, height, perhaps ``cam_param`` with ``focal`` and ``princpt``), ``annotations``
(image_id, ``keypoints`` [x, y, v] * J, flat or nested, perhaps ``bbox`` [x, y, w, h], ``hand_type``, ``joint_cam``
(J, 3)) and ``categories`` with the joints' names. A file's names may be wrong: those of RHD in this form list base
to tip where the joints go tip to base, so hand it ``ORDERS["rhd2d"]``. Without the annotations, the images are an
``ImageFolder``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.data.boxes import box_problem
from posebridge.data.datasets.annotations import camera_matrix, read_json
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame, Side, UnreadableFrameError
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.skeleton import Skeleton

_BOX_PADDING = 1.25  # where there is no bbox: of the extent of the labelled joints
_MM = 1e-3


@dataclass(frozen=True)
class _Subject:
    """One annotation, checked. Joints in the file's order."""

    file: Path
    key: str
    size_px: tuple[int, int]  # width, height
    box_xyxy: np.ndarray
    uv_v: np.ndarray  # (J, 3)
    hand: Side | None
    joints_m: np.ndarray | None
    K: np.ndarray | None


class _BrokenRecordError(Exception):
    """One annotation is wrong; the message has the reason."""


class CocoKeypoints(IndexedFrames):
    """One frame an annotated subject; key the image's stem, with the annotation's id after it (``000123_7``) where an
    image shows several.

    Annotations without a labelled joint and crowds are left out; broken ones are listed in ``skipped``. COCO's
    v = 1 means labelled but hidden; in a file without any 2, a 1 means visible.
    """

    def __init__(
        self, annotations: str | Path, images: str | Path, skeleton: Skeleton, joint_names: Sequence[str] | None = None
    ):
        """``joint_names`` replaces the names in the file. ``joint_cam`` is in millimetres, as mmpose has it.

        Raises ``InputError`` for a file that is no keypoint JSON, joints that don't fit the skeleton, or where not
        one annotation is usable.
        """
        self.path = Path(annotations)
        self.skeleton = skeleton
        self.skipped: dict[str, str] = {}
        content = _read_json(self.path)
        self.names = tuple(joint_names) if joint_names is not None else _joint_names(self.path, content)
        skeleton.order_of(self.names)  # raises for names that don't fit
        self._subjects = self._read_subjects(content, Path(images))
        if not self._subjects:
            reason = next(iter(self.skipped.values()), "none has a labelled joint")
            raise InputError(f"{self.path}: no usable annotation of {len(content['annotations'])}: {reason}")
        self._has_K = all(subject.K is not None for subject in self._subjects)
        self._has_joints_m = all(subject.joints_m is not None for subject in self._subjects)
        self._says_visible = any((subject.uv_v[:, 2] == 2).any() for subject in self._subjects)

    def __len__(self) -> int:
        return len(self._subjects)

    def __getitem__(self, index: int) -> RawFrame:
        """The frame, with its intrinsics if every subject has some; raises ``UnreadableFrameError`` where its file is
        broken or of another size than annotated.
        """
        subject = self._subjects[index]
        image = read_image(subject.file)
        width, height = subject.size_px
        if image.shape[:2] != (height, width):
            found = f"{image.shape[1]}x{image.shape[0]}"
            raise UnreadableFrameError(subject.file, f"it is {found}, but annotated as {width}x{height}")
        K = subject.K if self._has_K else None
        return RawFrame(image, subject.key, frame=index, K=K, box_xyxy=subject.box_xyxy, hand=subject.hand)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton; ``joints_m`` if every subject has them."""
        subject = self._subjects[index]
        v = subject.uv_v[:, 2]
        visible_in_file = v == 2 if self._says_visible else v > 0
        uv_px, valid = convert(subject.uv_v[:, :2], v > 0, self.names, self.skeleton)
        _, visible = convert(subject.uv_v[:, :2], visible_in_file, self.names, self.skeleton)
        joints_m = None
        if self._has_joints_m and subject.joints_m is not None:
            joints_m, _ = convert(subject.joints_m, v > 0, self.names, self.skeleton)
        return FrameLabels(uv_px, valid, visible, joints_m)

    def _read_subjects(self, content: dict[str, Any], folder: Path) -> list[_Subject]:
        images = {image.get("id"): image for image in content["images"] if isinstance(image, dict)}
        records = [a for a in content["annotations"] if isinstance(a, dict) and _is_labelled(a)]
        shown = Counter(str(record.get("image_id")) for record in records)
        subjects: list[_Subject] = []
        for record in records:
            try:
                image = images.get(record.get("image_id"))
                if image is None:
                    raise _BrokenRecordError(f"its image {record.get('image_id')} is not among the images")
                several = shown[str(record.get("image_id"))] > 1
                subjects.append(_read_subject(record, image, folder, len(self.names), several))
            except _BrokenRecordError as error:
                self.skipped[f"{self.path} annotation {record.get('id')}"] = str(error)
        return subjects


def open_coco_keypoints(
    root: str | Path, split: Split, skeleton: Skeleton, joint_order: str | None = None, whole_set: bool = False
) -> CocoKeypoints:
    """A folder of ``train.json``, ``test.json`` and ``images/``; with ``whole_set``, of ``annotations.json`` for both.

    ``joint_order``: a name in ``ORDERS`` that replaces the file's own names of joints.
    Raises ``InputError`` for an unknown order, and as ``CocoKeypoints`` does.
    """
    if joint_order is not None and joint_order not in ORDERS:
        raise InputError(f"no joint order {joint_order!r}: there are {', '.join(sorted(ORDERS))}")
    names = None if joint_order is None else ORDERS[joint_order]
    file = "annotations.json" if whole_set else f"{split}.json"
    return CocoKeypoints(Path(root) / file, Path(root) / "images", skeleton, names)


def _read_json(path: Path) -> dict[str, Any]:
    content = read_json(path)
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise InputError(f"{path}: no keypoint JSON in COCO's style: it lacks a list {name!r}")
    return content


def _joint_names(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    for category in content.get("categories") or ():
        if isinstance(category, dict) and isinstance(category.get("keypoints"), list):
            return tuple(str(name) for name in category["keypoints"])
    raise InputError(f"{path}: its categories name no keypoints; give a joint order")


def _is_labelled(record: dict[str, Any]) -> bool:
    """False for crowds and subjects without a labelled joint. True where the joints are malformed: checked later."""
    if record.get("iscrowd"):
        return False
    try:
        flat = np.asarray(record.get("keypoints"), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return True
    return flat.size % 3 != 0 or bool((flat[2::3] != 0).any())


def _read_subject(record: dict[str, Any], image: dict[str, Any], folder: Path, n: int, several: bool) -> _Subject:
    """Raises ``_BrokenRecordError``."""
    if not isinstance(image.get("file_name"), str):
        raise _BrokenRecordError("its image has no file_name")
    file = folder / image["file_name"]
    if not file.is_file():
        raise _BrokenRecordError(f"its image {file} is missing")
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int):
        raise _BrokenRecordError("its image has no width and height")
    uv_v = _numbers(record, "keypoints", (n, 3))
    box = _box(record, uv_v)
    if problem := box_problem(box, width, height):
        raise _BrokenRecordError(f"its bbox {box.tolist()} (x0 y0 x1 y1) {problem}")
    return _Subject(
        file=file,
        key=f"{file.stem}_{record.get('id')}" if several else file.stem,
        size_px=(width, height),
        box_xyxy=box,
        uv_v=uv_v,
        hand=record["hand_type"] if record.get("hand_type") in ("left", "right") else None,
        joints_m=_numbers(record, "joint_cam", (n, 3)) * _MM if "joint_cam" in record else None,
        K=_intrinsics(image["cam_param"]) if "cam_param" in image else None,
    )


def _numbers(record: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(record.get(name), dtype=np.float64)
    except (TypeError, ValueError):
        raise _BrokenRecordError(f"its {name} are not a list of numbers") from None
    if array.size != np.prod(shape) or not np.isfinite(array).all():
        wrong = "are not finite" if array.size == np.prod(shape) else f"have {array.size} numbers"
        raise _BrokenRecordError(f"its {name} {wrong}, expected {' x '.join(map(str, shape))} finite ones")
    return array.reshape(shape)


def _box(record: dict[str, Any], uv_v: np.ndarray) -> np.ndarray:
    if "bbox" in record:
        x, y, width, height = _numbers(record, "bbox", (4,)).tolist()
        return np.array([x, y, x + width, y + height])
    labelled = uv_v[uv_v[:, 2] > 0, :2]
    low, high = labelled.min(axis=0), labelled.max(axis=0)
    half = (high - low) / 2 * _BOX_PADDING
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half])


def _intrinsics(parameters: dict[str, Any]) -> np.ndarray:
    (fx, fy), (cx, cy) = _numbers(parameters, "focal", (2,)), _numbers(parameters, "princpt", (2,))
    return camera_matrix(fx, fy, cx, cy)
