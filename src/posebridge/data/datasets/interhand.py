"""InterHand2.6M (Moon et al., ECCV 2020) in its release's layout.

``annotations/train/InterHand2.6M_train_data.json`` (``images`` and ``annotations``), ``..._camera.json`` (of each
capture ``campos``, ``camrot``, ``focal``, ``princpt`` by camera) and ``..._joint_3d.json`` (of each capture and frame
``world_coord`` (42, 3) in millimetres and ``joint_valid``), likewise for ``val`` and ``test``; images under
``images/train/`` by their ``file_name``, ``Capture0/0000_neutral_relaxed/cam400262/image12345.jpg``. Joints are the
right hand, then the left, each thumb to pinky, tip to base, the wrist last. X_camera = R (X_world - campos). Without
the annotations, the images are an ``ImageFolder``.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM, PresentFiles, flat_numbers, numbers, pose_of_camera, read_json
from posebridge.data.datasets.hand_annotations import JOINTS, checked_camera
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord, spatial_labels
from posebridge.data.datasets.json_entries import AnnotationNames, EntriesById, whole_number
from posebridge.data.datasets.options import Hands, Split
from posebridge.data.frames import FrameIndex, Side
from posebridge.errors import InputError
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit, size_problems

_WORDS: dict[Split | Literal["validation"], str] = {"train": "train", "validation": "val", "test": "test"}
_ROWS: dict[Side, slice] = {"right": slice(0, JOINTS), "left": slice(JOINTS, 2 * JOINTS)}
_ORDER = tuple(name.removeprefix("right_") for name in ORDERS["interhand3d"][:JOINTS])
_WRIST = _ORDER.index("wrist")
_MIN_VALID = 17


class _Camera(NamedTuple):
    K: np.ndarray
    T_world_cam: np.ndarray


class _Hand(NamedTuple):
    image: int
    side: Side
    joints_m: np.ndarray  # (21, 3) world, shared by the cameras of an instant
    valid: np.ndarray  # (21,)


class _Image(NamedTuple):
    name: str
    capture: str
    sequence: str
    camera: str
    frame: int


class InterHand(HandFrames):
    """One frame a hand; key ``3_400026_69148_right`` (capture, camera, frame), sequence ``3_0390_dh_touchROM_right``.

    A hand is offered if its wrist is labelled and more than 16 of its joints are, by the image's annotation and by the
    joints in space. ``T_world_cam`` is the camera's pose; frames of one number in one sequence are the same instant.
    """

    def __init__(self, root: str | Path, split: Split | Literal["validation"] = "train", hands: Hands = "all"):
        """``hands``: images of one hand, of two, or both.

        Raises ``InputError`` where annotations are missing, damaged or of another unit, or no hand is usable.
        """
        root = Path(root)
        word = _WORDS[split]
        self.images = root / "images" / word
        self.skipped: dict[str, str] = {}
        prefix = root / "annotations" / word / f"InterHand2.6M_{word}"
        self._data_file = Path(f"{prefix}_data.json")
        self._joints_file = Path(f"{prefix}_joint_3d.json")
        content = _read_object(self._data_file)
        joints = _read_object(self._joints_file)
        self._cameras = _Cameras(Path(f"{prefix}_camera.json"))
        self._images: list[_Image] = []
        self._hands: list[_Hand] = []
        self._read_hands(content, joints, hands)
        self._drop_impossible()
        if not self._hands:
            reason = next(iter(self.skipped.values()), f"no image is {hands!r} with a labelled hand")
            raise InputError(f"{self._data_file}: no usable hand: {reason}")

    def __len__(self) -> int:
        return len(self._hands)

    def record(self, index: int) -> HandRecord:
        """One hand in one image, in the frame of its camera."""
        hand = self._hands[index]
        image = self._images[hand.image]
        camera = self._cameras.get(image.capture, image.camera)
        file = self.images / image.name
        sequence, frame, view = self._place_of(hand)
        R_world_cam, centre_m = camera.T_world_cam[:3, :3], camera.T_world_cam[:3, 3]
        joints_m = (hand.joints_m - centre_m) @ R_world_cam
        joints_m, uv_px, valid, box = spatial_labels(joints_m, camera.K, hand.valid, _ORDER, file)
        return HandRecord(
            file=file,
            key=f"{image.capture}_{image.camera}_{image.frame}_{hand.side}",
            hand=hand.side,
            uv_px=uv_px,
            valid=valid,
            box_xyxy=box,
            sequence=sequence,
            frame=frame,
            view=view,
            K=camera.K,
            joints_m=joints_m,
            T_world_cam=camera.T_world_cam,
        )

    def frame_index(self) -> FrameIndex:
        """Sequence, frame and camera of every hand, without projecting its joints."""
        return FrameIndex.of(self._place_of(hand) for hand in self._hands)

    def _place_of(self, hand: _Hand) -> tuple[str, int, int]:
        image = self._images[hand.image]
        return f"{image.capture}_{image.sequence}_{hand.side}", image.frame, int(image.camera)

    def _read_hands(self, content: dict[str, Any], joints: dict[str, Any], hands: Hands) -> None:
        for name in ("images", "annotations"):
            if not isinstance(content.get(name), list):
                raise InputError(f"{self._data_file}: it lacks a list {name!r}")
        images, names = EntriesById(content["images"], "image"), AnnotationNames(self._data_file)
        instants = _Instants(joints)
        present = PresentFiles()
        for position, annotation in enumerate(content["annotations"]):
            name = names.of(position, annotation)
            annotation = annotation if isinstance(annotation, dict) else {}
            interacting = str(annotation.get("hand_type")).lower() == "interacting"
            if hands != "all" and interacting != (hands == "interacting"):
                continue
            try:
                image = _read_image_entry(images.get(annotation.get("image_id")))
                self._add(annotation, image, instants, present)
            except InputError as error:
                self.skipped[name] = str(error)

    def _add(self, annotation: dict[str, Any], image: _Image, instants: "_Instants", present: PresentFiles) -> None:
        file = self.images / image.name
        if file not in present:
            raise InputError(f"its image {file} is missing")
        self._cameras.get(image.capture, image.camera)  # raises where the image has no camera
        joints_m, valid = instants.get(image.capture, image.frame)
        seen = flat_numbers(annotation.get("joint_valid"), (2 * JOINTS,), "its joint_valid") > 0
        self._images.append(image)
        for side, rows in _ROWS.items():
            labelled = seen[rows] & valid[rows]
            if labelled[_WRIST] and labelled.sum() >= _MIN_VALID:
                self._hands.append(_Hand(len(self._images) - 1, side, joints_m[rows], labelled))

    def _drop_impossible(self) -> None:
        """Leaves out hands of an impossible size; another unit than millimetres is an ``InputError``."""
        seen = {self._instant(hand): hand for hand in self._hands}  # one for all cameras
        if not seen:
            return
        joints_m = np.stack([np.where(hand.valid[:, None], hand.joints_m, np.nan) for hand in seen.values()])
        names = [f"capture {capture}, frame {frame} ({side})" for capture, frame, side in seen]
        check_unit(joints_m, "hand", f"{self._joints_file}: hands", "millimetres")
        reasons = size_problems(joints_m, "hand")
        self.skipped |= {f"{self._joints_file} {names[position]}": reason for position, reason in reasons.items()}
        broken = {list(seen)[position] for position in reasons}
        self._hands = [hand for hand in self._hands if self._instant(hand) not in broken]

    def _instant(self, hand: _Hand) -> tuple[str, int, Side]:
        image = self._images[hand.image]
        return image.capture, image.frame, hand.side


class _Cameras:
    """Cameras by capture and name, checked at their first use."""

    def __init__(self, path: Path):
        self._path = path
        self._content = _read_object(path)
        self._checked: dict[tuple[str, str], _Camera] = {}

    def get(self, capture: str, name: str) -> _Camera:
        """Raises ``InputError`` for a camera that is missing or impossible."""
        if (capture, name) not in self._checked:
            where = f"{self._path}: camera {name} of capture {capture}"
            entry = self._content.get(capture)
            found = {key: _entry(entry, key, name) for key in ("campos", "camrot", "focal", "princpt")}
            if missing := [key for key, value in found.items() if value is None]:
                raise InputError(f"{where} has no {missing[0]}")
            fx, fy = numbers(found["focal"], (2,), f"{where}: its focal").tolist()
            cx, cy = numbers(found["princpt"], (2,), f"{where}: its princpt").tolist()
            K = checked_camera(camera_matrix(fx, fy, cx, cy), where)
            R_cam_world = numbers(found["camrot"], (3, 3), f"{where}: its camrot")
            if not np.abs(R_cam_world @ R_cam_world.T - np.eye(3)).max() < 1e-2:
                raise InputError(f"{where}: its camrot is not a rotation")
            centre_m = numbers(found["campos"], (3,), f"{where}: its campos") * MM
            self._checked[capture, name] = _Camera(K, pose_of_camera(R_cam_world, centre_m))
        return self._checked[capture, name]


class _Instants:
    """Joints in the world by capture and frame. All cameras of an instant share one array."""

    def __init__(self, content: dict[str, Any]):
        self._content = content
        self._read: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    def get(self, capture: str, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Joints (42, 3) in metres and valid (42,). Raises ``InputError`` where they are missing or malformed."""
        if (capture, frame) not in self._read:
            entry = _entry(self._content, capture, str(frame))
            if not isinstance(entry, dict):
                raise InputError(f"frame {frame} of capture {capture} has no joints in space")
            joints = numbers(entry.get("world_coord"), (2 * JOINTS, 3), "its world_coord")
            valid = flat_numbers(entry.get("joint_valid"), (2 * JOINTS,), "its joint_valid") > 0
            if not np.isfinite(joints[valid]).all():
                raise InputError("its world_coord is not finite")
            self._read[capture, frame] = joints * MM, valid
        return self._read[capture, frame]


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object")
    return content


def _entry(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _read_image_entry(image: dict[str, Any]) -> _Image:
    frame = whole_number(image.get("frame_idx"))
    if not isinstance(image.get("file_name"), str) or frame is None:
        raise InputError("its image has no file_name or frame_idx")
    if not str(image.get("camera")).isdecimal():
        raise InputError(f"its image's camera {image.get('camera')!r} is not a number")
    return _Image(
        image["file_name"],
        str(image.get("capture")),
        str(image.get("seq_name")),
        str(image["camera"]),
        frame,
    )
