"""YouTube 3D Hands (Kulon et al., CVPR 2020) in its release's layout: MANO meshes over frames of videos.

``youtube_train.json``, ``youtube_val.json`` and ``youtube_test.json`` with ``images`` (``name``, ``width``, ``height``,
``id``) and ``annotations`` (``vertices`` (778, 3), ``is_left``, ``image_id``, ``id``); images by their name below the
same folder, ``youtube/VIDEO/video/frames/123.png``, which each user fetches. Vertices are in pixels of the image, their
third number a depth of the same unit: there is no camera and no scale. Without the annotations, the images are an
``ImageFolder(root / "youtube")``.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from posebridge.data.boxes import box_problem
from posebridge.data.datasets.annotations import PresentFiles, numbers, read_json, read_npy
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord
from posebridge.data.datasets.json_entries import AnnotationNames, EntriesById, whole_number
from posebridge.data.datasets.options import Split
from posebridge.data.frames import Side
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.skeletons.hand import HAND21
from posebridge.skeletons.orders import ORDERS, convert

_WORDS: dict[Split | Literal["validation"], str] = {"train": "train", "validation": "val", "test": "test"}
_VERTICES, _MANO_JOINTS = 778, 16
_TIP_VERTICES = (333, 444, 672, 555, 744)  # index, middle, pinky, ring, thumb


class _Hand(NamedTuple):
    file: Path
    video: str
    number: int
    identity: str
    side: Side
    vertices_px: np.ndarray  # (778, 3) float32
    box_xyxy: np.ndarray


class YouTubeHands(HandFrames):
    """One frame a hand; key ``VIDEO_123_7`` (the last is the annotation's id), sequence ``VIDEO_left``.

    The box is 1.5 times the extent of the vertices. Joints follow from the vertices by MANO's joint regressor, which
    its licence doesn't let this project ship: without it no joint is valid.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split | Literal["validation"] = "train",
        regressor: str | Path | None = None,
    ):
        """``regressor``: a ``.npy`` of MANO's ``J_regressor`` (16, 778), as a plain array.

        Raises ``InputError`` for a file of another layout, or where not one annotation is usable.
        """
        self.root = Path(root)
        self.skipped: dict[str, str] = {}
        self._regressor = None if regressor is None else _read_regressor(Path(regressor))
        path = self.root / f"youtube_{_WORDS[split]}.json"
        content = read_json(path)
        for name in ("images", "annotations"):
            if not isinstance(content, dict) or not isinstance(content.get(name), list):
                raise InputError(f"{path}: it lacks a list {name!r}")
        images, names = EntriesById(content["images"], "image"), AnnotationNames(path)
        present = PresentFiles()
        self._hands: list[_Hand] = []
        for position, annotation in enumerate(content["annotations"]):
            name = names.of(position, annotation)
            annotation = annotation if isinstance(annotation, dict) else {}
            try:
                self._hands.append(self._read(annotation, images.get(annotation.get("image_id")), present))
            except InputError as error:
                self.skipped[name] = str(error)
        if not self._hands:
            reason = next(iter(self.skipped.values()), "there is none")
            raise InputError(f"{path}: no usable annotation: {reason}")

    def __len__(self) -> int:
        return len(self._hands)

    def vertices_px(self, index: int) -> np.ndarray:
        """MANO's vertices (778, 3) of a hand: u, v and depth, all in pixels of the image."""
        return self._hands[index].vertices_px

    def record(self, index: int) -> HandRecord:
        """A hand, in pixels alone."""
        hand = self._hands[index]
        uv_px, valid = np.zeros((len(HAND21), 2)), np.zeros(len(HAND21), dtype=bool)
        if self._regressor is not None:
            vertices = hand.vertices_px.astype(np.float64)
            joints = np.concatenate([self._regressor @ vertices, vertices[list(_TIP_VERTICES)]])
            uv_px, valid = convert(joints[:, :2], None, ORDERS["mano"], HAND21)
        return HandRecord(
            file=hand.file,
            key=f"{hand.video}_{hand.number}_{hand.identity}",
            hand=hand.side,
            uv_px=uv_px,
            valid=valid,
            box_xyxy=hand.box_xyxy,
            sequence=f"{hand.video}_{hand.side}",
            frame=hand.number,
        )

    def _read(self, annotation: dict[str, Any], image: dict[str, Any], present: PresentFiles) -> _Hand:
        if not isinstance(image.get("name"), str):
            raise InputError("its image has no name")
        parts = Path(image["name"]).parts
        number = Path(image["name"]).stem
        if len(parts) < 2 or parts[0] != "youtube" or not number.isdecimal():
            raise InputError(f"its image {image['name']} is not named youtube/VIDEO/video/frames/NUMBER.png")
        file = self.root / image["name"]
        if file not in present:
            raise InputError(f"its image {file} is missing")
        vertices_px = numbers(annotation.get("vertices"), (_VERTICES, 3), "its vertices")
        if not np.isfinite(vertices_px).all():
            raise InputError("its vertices are not finite")
        width, height = whole_number(image.get("width")), whole_number(image.get("height"))
        if width is None or height is None:
            raise InputError("its image has no width and height")
        box = joint_box(vertices_px[:, :2], JOINT_BOX_PADDING)
        if problem := box_problem(box, width, height):
            raise InputError(f"the box around its vertices {problem}")
        if annotation.get("is_left") not in (0, 1):
            raise InputError("its is_left is neither 0 nor 1")
        side: Side = "left" if annotation["is_left"] else "right"
        identity = str(annotation.get("id"))
        return _Hand(file, parts[1], int(number), identity, side, vertices_px.astype(np.float32), box)


def _read_regressor(path: Path) -> np.ndarray:
    array = read_npy(path, "give MANO's J_regressor as a plain .npy")
    if array.shape != (_MANO_JOINTS, _VERTICES):
        raise InputError(f"{path}: expected MANO's J_regressor, an array of {_MANO_JOINTS} x {_VERTICES} numbers")
    if not np.allclose(array.sum(axis=1), 1, atol=1e-3):
        raise InputError(f"{path}: its rows don't sum to one, as those of a joint regressor do")
    return array.astype(np.float64)
