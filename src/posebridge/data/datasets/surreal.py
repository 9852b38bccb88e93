"""SURREAL (Varol et al., CVPR 2017) in its release's layout: rendered people of SMPL's shape over photographs.

``cmu/{train,val,test}/run{0,1,2}/<sequence>/<sequence>_c0001.mp4`` with ``_info.mat`` (``joints3D`` (3, 24, T) metres
in a world, ``joints2D`` (2, 24, T), ``camLoc`` (3, 1)) and optionally ``_segm.mat`` (``segm_1`` ...) and
``_depth.mat`` (``depth_1`` ... in metres). Without the annotations, the videos are a ``VideoFolder``.

The renderer's camera mirrors: its axes are left-handed. What the files call left is the right side of the visible
person (the release's script notes "left/right are swapped"). The order ``surreal`` has the sides of the visible person.
A mirrored person in a mirrored world under an ordinary camera gives the same picture; joints, and the world of
``T_world_cam`` (the release's with z reversed), are those.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from posebridge.data.datasets.annotations import numbers, pose_of_camera, project, read_mat
from posebridge.data.datasets.options import Split
from posebridge.data.datasets.person_sequences import PersonSequence, PersonSequences
from posebridge.data.frames import FrameLabels, RawFrame
from posebridge.data.natural_order import natural_path_key
from posebridge.data.subset import even_positions
from posebridge.errors import InputError
from posebridge.skeletons.body import SMPL24
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit
from posebridge.skeletons.skeleton import Skeleton

# A lens of 60 mm before a sensor of 32 mm and 320x240 px: 600 px. The release's centre (160, 120) is the image's
# middle, counted from the corner of the first pixel; ours are counted from its centre.
_K = np.array([[600.0, 0, 159.5], [0, 600.0, 119.5], [0, 0, 1]])
_R_CAM_WORLD = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # of the mirrored world
_MIRROR_WORLD = np.array([1.0, 1, -1])
_JOINTS = 24
_FOLDERS: dict[Split | Literal["validation"], str] = {"train": "train", "validation": "val", "test": "test"}
_AGREEMENT_PX = 2.0  # joints2D are rounded to whole pixels
_BACKGROUND_M = 1e3  # depth of the background is 1e10


class SURREAL(PersonSequences):
    """One frame a picture of a clip; sequence and key ``run0_01_01_c0001``."""

    def __init__(
        self,
        root: str | Path,
        split: Split | Literal["validation"] = "train",
        runs: tuple[int, ...] = (0, 1, 2),
        every: int = 1,
        skeleton: Skeleton = SMPL24,
        clips: int | None = None,
        depth: bool = False,
        masks: bool = True,
    ):
        """``root``: the folder that holds ``cmu``. ``every`` n-th frame of a clip. ``clips``: that many at most,
        evenly chosen (all annotations are read at the start, about 1 ms a clip from a warm disk, and the whole set
        has 68,000). ``depth``: load it. ``masks``: load them, which takes four times as long as the picture.

        Raises ``InputError`` where no clip has usable annotations, or units or conventions are not the release's.
        """
        self.depth = depth
        self.masks = masks
        self.folder = Path(root) / "cmu" / _FOLDERS[split]
        found = (sorted((self.folder / f"run{run}").glob("*/*_info.mat"), key=natural_path_key) for run in runs)
        infos = [info for infos_of_run in found for info in infos_of_run]
        if not infos:
            raise InputError(f"{self.folder}: no run0/<sequence>/<sequence>_c0001_info.mat and so on is there")
        infos = [infos[i] for i in even_positions(len(infos), clips, round_down=True)]
        skipped: dict[str, str] = {}
        sequences = [sequence for info in infos if (sequence := _read_clip(info, every, skipped)) is not None]
        super().__init__(sequences, ORDERS["surreal"], skeleton, skipped)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame, with depth if requested. Raises ``UnreadableFrameError`` where the video is broken."""
        frame = super().__getitem__(index)
        if not self.depth:
            return frame
        depth_m = self._map(index, "depth").astype(np.float32)
        return replace(frame, depth_m=np.where(depth_m < _BACKGROUND_M, depth_m, np.float32(0)))

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton; the mask where the clip's segmentation is there."""
        labels = super().labels(index)
        if not self.masks or not self._beside(index, "segm").is_file():
            return labels
        return replace(labels, mask=self._map(index, "segm") > 0)

    def _beside(self, index: int, kind: str) -> Path:
        video = self.locate(index)[0].images
        assert isinstance(video, Path)
        return video.with_name(f"{video.stem}_{kind}.mat")

    def _map(self, index: int, kind: str) -> np.ndarray:
        sequence, row = self.locate(index)
        name, file = f"{kind}_{int(sequence.numbers[row]) + 1}", self._beside(index, kind)
        return numbers(read_mat(file, [name])[name], (240, 320), f"{file}: {name}")


def _read_clip(info: Path, every: int, skipped: dict[str, str]) -> PersonSequence | None:
    """A clip, or None where its files are broken. Raises ``InputError`` for wrong units or conventions."""
    video = info.with_name(info.name.removesuffix("_info.mat") + ".mp4")
    if not video.is_file():
        skipped[str(video)] = "the video is missing"
        return None
    try:
        joints, joints2d, camera = _read_info(info)
    except InputError as error:
        skipped[str(info)] = str(error).removeprefix(f"{info}: ")
        return None
    check_unit(joints, "person", f"{info}: joints3D", "metres")
    centre = camera * _MIRROR_WORLD
    joints_m = (joints * _MIRROR_WORLD - centre) @ _R_CAM_WORLD.T
    away = np.abs(project(joints_m, _K) + 0.5 - joints2d).max(axis=(1, 2))
    if np.median(away) > _AGREEMENT_PX:
        raise InputError(
            f"{info}: joints2D lie {np.median(away):.0f} px from the projection of joints3D: "
            "expected the release's 320x240 camera at camLoc"
        )
    frames = np.arange(0, len(joints), every)
    run, name = info.parts[-3], video.stem
    return PersonSequence(
        name=f"{run}_{name}",
        key=f"{run}_{name}",
        images=video,
        numbers=frames,
        joints_m=joints_m[frames].astype(np.float32),
        K=_K,
        T_world_cam=pose_of_camera(_R_CAM_WORLD, centre),
    )


def _read_info(info: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World joints (T, 24, 3) in metres, pixels (T, 24, 2), the camera's place (3,)."""
    content = read_mat(info, ["joints3D", "joints2D", "camLoc"])
    # Matlab drops the last axis of a clip of one frame.
    joints, joints2d = (np.atleast_3d(content[name]) for name in ("joints3D", "joints2D"))
    joints = numbers(joints, (3, _JOINTS, None), f"{info}: joints3D")
    joints2d = numbers(joints2d, (2, _JOINTS, joints.shape[2]), f"{info}: joints2D")
    camera = numbers(np.ravel(content["camLoc"]), (3,), f"{info}: camLoc")
    if not (np.isfinite(joints).all() and np.isfinite(camera).all()) or not joints.any():
        raise InputError(f"{info}: its joints are not finite, or all zero")
    return joints.transpose(2, 1, 0), joints2d.transpose(2, 1, 0), camera
