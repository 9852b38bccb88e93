"""MPII Human Pose (Andriluka et al., CVPR 2014): its own Matlab file, or the JSON files made of it.

``images/015601864.jpg`` and either ``mpii_human_pose_v1_u12_1.mat`` or the widespread ``train.json``, ``valid.json``
and ``trainval.json``: a list of ``image``, ``joints`` (16, 2), ``joints_vis`` (16,), ``center`` (2,) and ``scale``. In
both, pixels count from (1, 1), and ``scale`` is the person's height over 200 px. Without either, the images are an
``ImageFolder``.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.data.datasets.annotations import MATLAB_FIRST_PIXEL, PresentFiles, numbers, read_json, read_mat
from posebridge.data.datasets.image_folder import numbers_within, unique_keys
from posebridge.data.datasets.options import Split
from posebridge.data.frames import FrameLabels, IndexedFrames, RawFrame
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.skeletons.body import MPII16
from posebridge.skeletons.orders import ORDERS, convert
from posebridge.skeletons.skeleton import Skeleton

_FILES: dict[Split, str] = {"train": "train.json", "test": "valid.json"}
_JOINTS = 16
_HEIGHT_PX = 200.0  # of a person of scale 1
_BOX_PADDING = 1.25
_CENTRE_SHIFT_PX = 15.0  # times scale: the annotated centre lies above the body's middle


@dataclass(frozen=True)
class _Person:
    """One annotated person; pixels as the annotation has them."""

    image: str
    uv_px: np.ndarray  # (16, 2)
    valid: np.ndarray  # (16,) bool
    visible: np.ndarray  # (16,) bool
    centre_px: np.ndarray  # (2,)
    scale: float


class MPII(IndexedFrames):
    """One frame a person; key the image's stem, or its path without suffix where stems repeat between folders; with
    ``_`` and the person's number in it where it shows several.

    Boxes are squares of 1.25 times the person's height about a centre 15 px (at scale 1) below the annotated one, as is
    usual for this dataset. The Matlab file marks hidden joints, the JSON does not.
    """

    def __init__(self, annotations: str | Path, images: str | Path, skeleton: Skeleton = MPII16):
        """Raises ``InputError`` for a file that is neither, or where not one person is usable."""
        self.path, self.skeleton = Path(annotations), skeleton
        self.skipped: dict[str, str] = {}
        read = _read_release if self.path.suffix.lower() == ".mat" else _read_json
        people = read(self.path, self.skipped)
        folder = Path(images)
        present = PresentFiles()
        files = {name: present.find(folder / name) for name in dict.fromkeys(person.image for person in people)}
        self.skipped |= {str(folder / name): "the file is missing" for name, file in files.items() if file is None}
        self._files = {name: file for name, file in files.items() if file is not None}
        self._people = [person for person in people if person.image in self._files]
        if not self._people:
            reason = next(iter(self.skipped.values()), "it annotates no person")
            raise InputError(f"{self.path}: no annotated person has an image in {folder}: {reason}")
        self._keys = _keys(self.path, self._people)

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        person = self._people[index]
        centre = person.centre_px - MATLAB_FIRST_PIXEL + [0, _CENTRE_SHIFT_PX * person.scale]
        half = person.scale * _HEIGHT_PX * _BOX_PADDING / 2
        box = np.concatenate([centre - half, centre + half])
        return RawFrame(read_image(self._files[person.image]), self._keys[index], frame=index, box_xyxy=box)

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton."""
        person = self._people[index]
        uv_px, valid = convert(person.uv_px - MATLAB_FIRST_PIXEL, person.valid, ORDERS["mpii"], self.skeleton)
        _, visible = convert(person.uv_px, person.visible, ORDERS["mpii"], self.skeleton)
        return FrameLabels(np.where(valid[:, None], uv_px, 0), valid, visible & valid)


def open_mpii(
    root: str | Path, split: Split, skeleton: Skeleton = MPII16, annotations: str | Path | None = None
) -> MPII:
    """MPII in a folder of ``images/`` and ``annot/``. Raises ``InputError`` as ``MPII`` does.

    ``split``: "train" is ``annot/train.json``, "test" ``annot/valid.json``, since the release keeps its test labels.
    ``annotations``: another file, such as the release's Matlab file of all training images.
    """
    root = Path(root)
    file = root / "annot" / _FILES[split] if annotations is None else Path(annotations)
    return MPII(file, root / "images", skeleton)


def _keys(path: Path, people: list[_Person]) -> list[str]:
    images = [person.image for person in people]
    count = Counter(images)
    key_of = dict(zip(count, unique_keys(path, [Path(image) for image in count]), strict=True))
    return [
        f"{key_of[image]}_{number}" if count[image] > 1 else key_of[image]
        for image, number in zip(images, numbers_within(images), strict=True)
    ]


def _read_json(path: Path, skipped: dict[str, str]) -> list[_Person]:
    records = read_json(path)
    if not isinstance(records, list):
        raise InputError(f"{path}: expected a list of people with image, joints, joints_vis, center and scale")
    people: list[_Person] = []
    for i, record in enumerate(records):
        where = f"{path} person {i}"
        try:
            people.append(_person(record, where))
        except InputError as error:
            skipped[where] = str(error).removeprefix(f"{where}: ")
    return people


def _person(record: Any, where: str) -> _Person:
    if not isinstance(record, dict) or not isinstance(record.get("image"), str):
        raise InputError(f"{where}: it names no image")
    uv_px = numbers(record.get("joints"), (_JOINTS, 2), f"{where}: joints")
    valid = numbers(record.get("joints_vis"), (_JOINTS,), f"{where}: joints_vis") > 0
    centre = numbers(record.get("center"), (2,), f"{where}: center")
    scale = float(numbers(record.get("scale"), (), f"{where}: scale"))
    return _checked(_Person(record["image"], uv_px, valid, valid, centre, scale), where)


def _checked(person: _Person, where: str) -> _Person:
    if not np.isfinite(person.uv_px[person.valid]).all() or not np.isfinite(person.centre_px).all():
        raise InputError(f"{where}: its joints or its centre are not finite")
    if not person.valid.any():
        raise InputError(f"{where}: no joint is labelled")
    if not 0 < person.scale < 1e3:
        raise InputError(f"{where}: its scale {person.scale:g} is impossible: expected its height over 200 px")
    return person


def _read_release(path: Path, skipped: dict[str, str]) -> list[_Person]:
    """The people of the training images: the release keeps the others' annotations to itself."""
    release = read_mat(path, ["RELEASE"], nested=True)["RELEASE"]
    try:
        training = np.atleast_1d(release.img_train)
        images = np.atleast_1d(release.annolist)
    except AttributeError as error:
        raise InputError(f"{path}: RELEASE is not that of MPII: {error}") from None
    people: list[_Person] = []
    for i in np.flatnonzero(training == 1):
        for number, rectangle in enumerate(np.atleast_1d(getattr(images[i], "annorect", []))):
            points = getattr(getattr(rectangle, "annopoints", None), "point", None)
            if points is None:  # a head alone: many people in the background are marked so
                continue
            where = f"{path} image {i} person {number}"
            try:
                people.append(_release_person(str(images[i].image.name), rectangle, np.atleast_1d(points), where))
            except InputError as error:
                skipped[where] = str(error).removeprefix(f"{where}: ")
            except (AttributeError, IndexError, TypeError, ValueError) as error:
                skipped[where] = f"its structure is broken: {error}"
    return people


def _release_person(image: str, rectangle: Any, points: np.ndarray, where: str) -> _Person:
    uv_px, valid, visible = np.zeros((_JOINTS, 2)), np.zeros(_JOINTS, bool), np.zeros(_JOINTS, bool)
    for point in points:
        joint = int(point.id)
        uv_px[joint], valid[joint] = (float(point.x), float(point.y)), True
        # Empty for the ends of the head, text in some places.
        flag = np.ravel(getattr(point, "is_visible", []))
        visible[joint] = flag.size == 0 or str(flag[0]) != "0"
    centre = np.array([float(rectangle.objpos.x), float(rectangle.objpos.y)])
    return _checked(_Person(image, uv_px, valid, visible, centre, float(rectangle.scale)), where)
