"""Annotations of COCO-style JSON, checked one by one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.boxes import box_problem
from posebridge.data.datasets.annotations import PresentFiles, flat_numbers, numbers, read_json
from posebridge.data.datasets.hand_annotations import checked_camera
from posebridge.data.datasets.image_folder import unique_keys
from posebridge.data.datasets.json_entries import EntriesById, whole_number
from posebridge.data.frames import SIDES, Side
from posebridge.errors import InputError
from posebridge.geometry.boxes import joint_box
from posebridge.skeletons.skeleton import Skeleton

_BOX_PADDING = 1.25  # where there is no bbox: of the extent of the labelled joints
_MIN_FOCAL = 0.2  # of the longer side of the image; a shorter one is not in pixels


@dataclass(frozen=True)
class CocoRecord:
    """One annotated subject. J joints in the order of ``names``."""

    file: Path
    key: str
    size_px: tuple[int, int]  # width, height
    box_xyxy: np.ndarray
    names: tuple[str, ...]
    uv_px: np.ndarray  # (J, 2), zero where v is 0
    v: np.ndarray  # (J,) 0, 1 or 2
    hand: Side | None
    joint_cam: np.ndarray | None  # (J, 3) in the unit of the file
    K: np.ndarray | None


class CocoFile:
    """A COCO-style file: images and categories by id, and annotations."""

    def __init__(self, path: Path, images: Path, skeleton: Skeleton, joint_names: Sequence[str] | None = None):
        """``images``: their folder. ``joint_names`` replaces the names of all categories.

        Raises ``InputError`` for a file of another layout, joints that don't fit the skeleton, or images whose names
        differ in their suffix only.
        """
        content = read_json(path)
        for name in ("images", "annotations"):
            if not isinstance(content, dict) or not isinstance(content.get(name), list):
                raise InputError(f"{path}: no keypoint JSON in COCO's style: it lacks a list {name!r}")
        self.path = path
        self.annotations: list[Any] = content["annotations"]
        self._folder = images
        self._present = PresentFiles()
        self._images = EntriesById(content["images"], "image")
        names = sorted({image["file_name"] for image in self._images if isinstance(image.get("file_name"), str)})
        self._keys = dict(zip(names, unique_keys(path, [Path(name) for name in names]), strict=True))
        self._names = _JointNames(path, content.get("categories"), skeleton, joint_names)
        self._shown = Counter(self._file_name(annotation) for annotation in self.annotations if is_labelled(annotation))

    def record(self, annotation: Any) -> CocoRecord:
        """A labelled annotation, checked. Raises ``InputError`` with the reason for a broken one."""
        if not isinstance(annotation, dict):
            raise InputError("it is no object")
        image = self._images.get(annotation.get("image_id"))
        name = image.get("file_name")
        if not isinstance(name, str):
            raise InputError("its image has no file_name")
        file = self._present.find(self._folder / name)
        if file is None:
            raise InputError(f"its image {self._folder / name} is missing")
        width, height = whole_number(image.get("width")), whole_number(image.get("height"))
        if width is None or height is None:
            raise InputError("its image has no width and height")
        names = self._names.of(annotation)
        uv_v = _keypoints(annotation, len(names))
        labelled = uv_v[:, 2] > 0
        key = self._keys[name]
        return CocoRecord(
            file=file,
            key=f"{key}_{annotation.get('id')}" if self._shown[name] > 1 else key,
            size_px=(width, height),
            box_xyxy=_box(annotation, uv_v[labelled, :2], width, height),
            names=names,
            uv_px=uv_v[:, :2],
            v=uv_v[:, 2],
            hand=_side(annotation.get("hand_type")),
            joint_cam=_joint_cam(annotation, labelled),
            K=_intrinsics(image.get("cam_param"), max(width, height)),
        )

    def _file_name(self, annotation: Any) -> str | None:
        try:
            return str(self._images.get(annotation.get("image_id")).get("file_name"))
        except (AttributeError, InputError):  # listed when it is read
            return None


class _JointNames:
    """Names of joints by category, which fit a skeleton."""

    def __init__(self, path: Path, categories: Any, skeleton: Skeleton, joint_names: Sequence[str] | None):
        self._skeleton = skeleton
        entries = categories if isinstance(categories, list) else []
        self._categories = EntriesById(entries, "category")
        lists = {names for entry in entries if (names := _names(entry)) is not None}
        if joint_names is not None:
            if len({tuple(sorted(names)) for names in lists}) < len(lists):
                raise InputError(f"{path}: its categories order their joints differently: give no joint order")
            lists = {tuple(joint_names)}
        if not lists:
            raise InputError(f"{path}: its categories name no keypoints; give a joint order")
        self._only = lists.pop() if len(lists) == 1 else None
        if self._only is not None:
            skeleton.order_of(self._only)  # refuses names that don't fit

    def of(self, annotation: dict[str, Any]) -> tuple[str, ...]:
        """The names of an annotation's joints, by its ``category_id`` where categories differ.

        Raises ``InputError`` where the category is missing, or names none that fit.
        """
        if self._only is not None:
            return self._only
        names = _names(self._categories.get(annotation.get("category_id")))
        if names is None:
            raise InputError(f"its category {annotation.get('category_id')} names no keypoints")
        self._skeleton.order_of(names)
        return names


def is_labelled(annotation: Any) -> bool:
    """False for crowds and subjects without a labelled joint. True for malformed ones, which are checked later."""
    if not isinstance(annotation, dict):
        return True
    if annotation.get("iscrowd"):
        return False
    try:
        flat = np.asarray(annotation.get("keypoints"), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return True
    return flat.size % 3 != 0 or bool((flat[2::3] != 0).any())


def _names(category: Any) -> tuple[str, ...] | None:
    keypoints = category.get("keypoints") if isinstance(category, dict) else None
    return tuple(str(name) for name in keypoints) if isinstance(keypoints, list) and keypoints else None


def _keypoints(annotation: dict[str, Any], count: int) -> np.ndarray:
    """(J, 3) of u, v in pixels and 0, 1 or 2. Coordinates of joints without a label may be missing, and become 0."""
    uv_v = flat_numbers(annotation.get("keypoints"), (count, 3), "its keypoints")
    wrong = _finite(uv_v[:, 2], "keypoints")[~np.isin(uv_v[:, 2], (0, 1, 2))]
    if wrong.size:
        raise InputError(f"its keypoints have a visibility of {wrong[0]:g}, expected 0, 1 or 2")
    uv_v[uv_v[:, 2] == 0, :2] = 0
    return _finite(uv_v, "keypoints")


def _joint_cam(annotation: dict[str, Any], labelled: np.ndarray) -> np.ndarray | None:
    """(J, 3) in the unit of the file. Joints without a label may lack numbers, which become 0."""
    if annotation.get("joint_cam") is None:
        return None
    joints = flat_numbers(annotation["joint_cam"], (len(labelled), 3), "its joint_cam")
    joints[~labelled & ~np.isfinite(joints).all(axis=1)] = 0
    if (_finite(joints, "joint_cam")[labelled, 2] <= 0).any():
        raise InputError("its joint_cam is not in front of the camera: expected joints in the frame of the camera")
    return joints


def _box(annotation: dict[str, Any], labelled_px: np.ndarray, width: int, height: int) -> np.ndarray:
    """The bbox as x0 y0 x1 y1, or a box around the labelled joints (N, 2)."""
    if annotation.get("bbox") is not None:
        corner, size = _finite(flat_numbers(annotation["bbox"], (4,), "its bbox"), "bbox").reshape(2, 2)
        with np.errstate(over="ignore"):  # infinite corners are refused below
            box = np.concatenate([corner, corner + size])
    elif (np.ptp(labelled_px, axis=0) > 0).all():
        box = joint_box(labelled_px, _BOX_PADDING)
    else:
        raise InputError("it has no bbox, and its labelled joints span none")
    if problem := box_problem(box, width, height):
        raise InputError(f"its bbox {box.tolist()} (x0 y0 x1 y1) {problem}")
    return box


def _side(hand_type: Any) -> Side | None:
    """The hand, in any case; None where the file doesn't say, or says both."""
    word = hand_type.strip().lower() if isinstance(hand_type, str) else None
    return next((side for side in SIDES if side == word), None)


def _intrinsics(parameters: Any, longer_side_px: int) -> np.ndarray | None:
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise InputError("its cam_param is no object with focal and princpt")
    focal, centre = (numbers(parameters.get(name), (2,), f"its {name}") for name in ("focal", "princpt"))
    K = checked_camera(camera_matrix(*focal, *centre), "its cam_param")
    if focal.min() < _MIN_FOCAL * longer_side_px:
        raise InputError(f"its focal {focal.tolist()} is too short for an image of {longer_side_px} px: give pixels")
    return K


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(array).all():
        raise InputError(f"its {name} are not finite: expected numbers")
    return array
