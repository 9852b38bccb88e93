"""MVHand (Yu, Yang, Chen, Yao, BMVC 2021) in its release's layout: four calibrated RGB-D cameras around one hand.

A folder a person, ``7-14-1-2``, ``9-10-1-2``, ``9-17-1-2``, ``9-25-1-2``, each with ``rgb/00000_0.jpg`` (frame and
view), ``depth/00000_0.png``, ``calib.pkl`` (a dictionary from the cameras' serial numbers to T_world_cam (4, 4), with
millimetres) and ``mlresults/7-14-1-2-joints.npy`` (N, 21, 4), homogeneous, millimetres, in the world. Joints are wrist,
index to pinky, then the thumb, base to tip; all hands are right ones. Intrinsics are those of the release's toolkit.
Without the annotations, the images are an ``ImageFolder(root / "7-14-1-2" / "rgb")``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM, PresentFiles, is_rigid, numbers, read_npy
from posebridge.data.datasets.hand_annotations import JOINTS, AnySplit
from posebridge.data.datasets.hand_frames import HandFrames, HandRecord, spatial_labels
from posebridge.data.frames import RawFrame
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.pickles import load_arrays
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit, size_problems

SEQUENCES = ("7-14-1-2", "9-10-1-2", "9-17-1-2", "9-25-1-2")
_PEOPLE: dict[AnySplit, tuple[str, ...]] = {"train": SEQUENCES[:2], "test": SEQUENCES[2:], "all": SEQUENCES}
# Views count the cameras in the order of their serial numbers.
_CAMERAS = {
    "840412062035": camera_matrix(619.598, 619.116, 325.345, 245.441),
    "840412062037": camera_matrix(615.85, 615.477, 316.062, 247.156),
    "840412062038": camera_matrix(619.475, 619.189, 313.715, 223.921),
    "840412062076": camera_matrix(615.665, 615.09, 306.514, 240.344),
}
VIEWS = tuple(range(len(_CAMERAS)))


class _Sequence(NamedTuple):
    name: str
    folder: Path
    joints_m: np.ndarray  # (N, 21, 3) world
    T_world_cam: np.ndarray  # (4, 4, 4), one a view


class MVHand(HandFrames):
    """One frame an image; key ``7-14-1-2_00000_0``, sequence the folder, ``T_world_cam`` the camera's pose.

    Frames of one number in one sequence are the same instant.
    """

    def __init__(self, root: str | Path, split: AnySplit = "train", views: Sequence[int] = VIEWS, depth: bool = False):
        """``split``: the first two people are for training, the others for testing. ``depth``: load it with each frame.

        Raises ``InputError`` where annotations are missing, damaged, of a wrong shape or unit, or no image is there.
        """
        root = Path(root)
        if unknown := sorted(set(views) - set(VIEWS)):
            raise InputError(f"MVHand has the views {', '.join(map(str, VIEWS))}, not {unknown[0]}")
        self.depth = depth
        self.skipped: dict[str, str] = {}
        self._sequences = [_read_sequence(root / name, name) for name in _PEOPLE[split]]
        self._images: list[tuple[int, int, int]] = []  # sequence, frame, view
        for position, sequence in enumerate(self._sequences):
            self._images += [(position, *image) for image in self._list_images(sequence, views)]
        if not self._images:
            raise InputError(f"{root}: no image {self._sequences[0].name}/rgb/00000_0.jpg and so on is there")

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        frame = super().__getitem__(index)
        if not self.depth:
            return frame
        position, number, view = self._images[index]
        return replace(frame, depth_m=_read_depth(self._sequences[position].folder, number, view))

    def record(self, index: int) -> HandRecord:
        """The hand of an image, in the frame of its camera."""
        position, number, view = self._images[index]
        sequence = self._sequences[position]
        T_world_cam = sequence.T_world_cam[view]
        K = list(_CAMERAS.values())[view]
        joints_m = (sequence.joints_m[number] - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]
        file = sequence.folder / "rgb" / f"{number:05d}_{view}.jpg"
        joints_m, uv_px, valid, box = spatial_labels(joints_m, K, None, ORDERS["mvhand"], file)
        return HandRecord(
            file=file,
            key=f"{sequence.name}_{number:05d}_{view}",
            hand="right",
            uv_px=uv_px,
            valid=valid,
            box_xyxy=box,
            sequence=sequence.name,
            frame=number,
            view=view,
            K=K,
            joints_m=joints_m,
            T_world_cam=T_world_cam,
        )

    def _list_images(self, sequence: _Sequence, views: Sequence[int]) -> list[tuple[int, int]]:
        check_unit(sequence.joints_m, "hand", f"{_joints_file(sequence.folder)}: hands", "millimetres")
        broken = size_problems(sequence.joints_m, "hand")
        present = PresentFiles()
        images: list[tuple[int, int]] = []
        for number in range(len(sequence.joints_m)):
            for view in views:
                file = sequence.folder / "rgb" / f"{number:05d}_{view}.jpg"
                if file not in present:
                    self.skipped[str(file)] = "the file is missing"
                elif number in broken:
                    self.skipped[str(file)] = broken[number]
                else:
                    images.append((number, view))
        return images


def _joints_file(folder: Path) -> str:
    return str(folder / "mlresults" / f"{folder.name}-joints.npy")


def _read_sequence(folder: Path, name: str) -> _Sequence:
    path = folder / "calib.pkl"
    content = load_arrays(path)
    if not isinstance(content, dict) or any(serial not in content for serial in _CAMERAS):
        raise InputError(f"{path}: expected a dictionary with the cameras {', '.join(_CAMERAS)}")
    poses = [numbers(content[serial], (4, 4), f"{path}: the pose of camera {serial}") for serial in _CAMERAS]
    T_world_cam = np.stack(poses)
    if not is_rigid(T_world_cam).all():
        broken = list(_CAMERAS)[int(np.argmin(is_rigid(T_world_cam)))]
        raise InputError(f"{path}: the pose of camera {broken} is not a rotation and a translation")
    T_world_cam[:, :3, 3] *= MM
    return _Sequence(name, folder, _read_joints(Path(_joints_file(folder))), T_world_cam)


def _read_joints(path: Path) -> np.ndarray:
    array = read_npy(path, "without labels, open the folder of images")
    if array.size % (JOINTS * 4) or not array.size:
        raise InputError(f"{path}: expected homogeneous joints of shape (N, {JOINTS}, 4)")
    return array.reshape(-1, JOINTS, 4)[..., :3].astype(np.float64) * MM


def _read_depth(folder: Path, number: int, view: int) -> np.ndarray:
    """16 bits in blue (low) and green (high), millimetres."""
    _, green, blue = np.moveaxis(read_image(folder / "depth" / f"{number:05d}_{view}.png").astype(np.float32), -1, 0)
    return (blue + 256 * green) * np.float32(MM)
