"""Predictions of a run, or of ``predict``, as a recording for the Rerun viewer, with their frames where possible."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.cameras.pixel_maps import upright_image
from posebridge.contracts.config_file import load_config
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.names import normal_name
from posebridge.contracts.run_layout import RunLayout
from posebridge.data.datasets.benchmark_frames import open_dataset
from posebridge.data.depth_target import open_depth
from posebridge.data.frames import FrameSource, RawFrame, UnreadableFrameError
from posebridge.data.target import open_target
from posebridge.deployment.frame_info import FrameInfo
from posebridge.deployment.mesh_files import MESHES
from posebridge.deployment.predict_config import PredictConfig, PredictDepthConfig
from posebridge.deployment.predict_files import CONFIG
from posebridge.deployment.recording import RecordedPose, Recording
from posebridge.errors import InputError, first_line, printable
from posebridge.experiments.configs import AdaptConfig, AdaptDepthConfig, TrainConfig
from posebridge.experiments.kinds import load_run_config
from posebridge.experiments.train_config import resolve
from posebridge.npz_files import ArrayFileError, load_npz
from posebridge.skeletons.named import SKELETONS
from posebridge.skeletons.skeleton import Skeleton

RECORDING = "view.rrd"
_KINDS = {"predict": PredictConfig, "predict-depth": PredictDepthConfig}
_CROP_PX = 64  # side of crops, which are not cut here
_AROUND_M = 0.04  # measured points are shown around the joints as far as this: a forearm and some background


@dataclass(frozen=True)
class WrittenRecording:
    """What ``view`` wrote."""

    file: Path
    poses: int
    with_frames: int
    note: str = ""  # why frames are missing

    def __str__(self) -> str:
        missing = f", {self.poses - self.with_frames} of them without their frame" * (self.with_frames < self.poses)
        line = f"{self.poses} poses in {self.file}{missing}"
        return f"{line}\n{printable(self.note)}" if self.note else line


def record_view(folder: Path, out: Path | None = None, every: int = 1) -> WrittenRecording:
    """Write the recording of a folder with ``predictions.npz``, of every n-th prediction.

    Frames are read again from where the run or ``predict`` read them. Where they are gone or were rendered, poses are
    recorded without. Pictures are upright, and joints in space turned alike.
    Raises ``InputError`` for a folder without predictions, joints of no known skeleton, and without Rerun.
    """
    layout = RunLayout(folder)
    keypoints = KeypointSet.load(layout.predictions)
    keypoints = keypoints.take(np.arange(0, len(keypoints), every), np.arange(keypoints.n_joints))
    skeleton = _skeleton_of(keypoints, layout.predictions)
    meshes = _Meshes.load(folder / MESHES)
    file = out or folder / RECORDING
    poses = _Poses(keypoints, meshes)
    config = _config_of(folder)
    note = ""
    with Recording(file, skeleton, meshes.faces) as recording:
        try:
            for frame in _frames(config, skeleton):
                pose = poses.of(frame)
                if pose is not None:
                    recording.add(pose)
                if not poses.remaining:
                    break
        except InputError as error:
            note = f"frames can't be read again: {first_line(error)}"
        with_frames = len(keypoints) - len(poses.remaining)
        for pose in poses.without_frames():
            recording.add(pose)
    return WrittenRecording(file, len(keypoints), with_frames, note)


def open_viewer(file: Path) -> str:
    """Open the Rerun viewer and wait until it is closed. Returns a line on why it did not open; "" after it did."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return f"no display here: open the file where there is one: rerun {file.name}"
    done = subprocess.run([sys.executable, "-m", "rerun", str(file)], stderr=subprocess.PIPE, check=False)
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return f"the viewer ended with an error ({printable(lines[-1])}): open the file elsewhere: rerun {file.name}"


def _config_of(folder: Path) -> Any:
    """The config of the prediction, else of the run; None where there is neither."""
    if (folder / CONFIG).is_file():
        return load_config(folder / CONFIG, _KINDS)[1]
    return load_run_config(folder) if RunLayout(folder).config.is_file() else None


def _frames(config: Any, skeleton: Skeleton) -> Iterable[RawFrame]:
    """The frames behind the predictions; none where they were rendered."""
    match config:
        case PredictConfig() | AdaptConfig():
            return open_target(config.target, _CROP_PX)
        case PredictDepthConfig() | AdaptDepthConfig():
            return open_depth(config.target)
        case TrainConfig():
            return _readable(open_dataset(resolve(config).target, "test", skeleton))
        case _:
            return ()


def _readable(frames: FrameSource) -> Iterator[RawFrame]:
    for index in range(len(frames)):
        with suppress(UnreadableFrameError):
            yield frames[index]


def _skeleton_of(keypoints: KeypointSet, path: Path) -> Skeleton:
    for skeleton in SKELETONS.values():
        if skeleton.joints == keypoints.joint_names:
            return skeleton
    raise InputError(f"{path}: its joint_names are those of no skeleton, so bones are unknown: predict with posebridge")


@dataclass(frozen=True)
class _Meshes:
    """Meshes by key; none where the file is missing."""

    vertices_mm: dict[str, np.ndarray]
    faces: np.ndarray | None = None

    @classmethod
    def load(cls, path: Path) -> "_Meshes":
        """Raises ``InputError`` for a broken file."""
        if not path.is_file():
            return cls({})
        try:
            arrays = load_npz(path, ("key", "vertices_mm", "faces"))
            rows = zip(arrays["key"].tolist(), arrays["vertices_mm"], strict=True)
            return cls({normal_name(key): vertices for key, vertices in rows}, arrays["faces"])
        except (ArrayFileError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} can't be read as meshes: {first_line(error)}") from error


class _Poses:
    """Predicted poses by key, each taken once."""

    def __init__(self, keypoints: KeypointSet, meshes: _Meshes):
        self.remaining = {key: row for row, key in enumerate(keypoints.key.tolist())}
        self._keypoints, self._meshes = keypoints, meshes
        self._moments: dict[tuple[str, int] | str, int] = {}

    def of(self, frame: RawFrame) -> RecordedPose | None:
        """The pose of a frame with its picture; None for a frame that was not predicted."""
        key = normal_name(frame.key)
        if key not in self.remaining:
            return None
        # Calibrated cameras see a moment together; the frames of others are one after the other.
        instant = key if frame.T_world_cam is None else (frame.sequence, frame.frame)
        pose = self._pose(key, self._moments.setdefault(instant, len(self._moments)))
        pose = replace(pose, view=frame.view, depth_m=frame.depth_m, K=frame.K, T_world_cam=frame.T_world_cam)
        return _upright(_with_points(pose), frame)

    def without_frames(self) -> Iterable[RecordedPose]:
        """The poses whose frames were not found, in their order."""
        for key in list(self.remaining):
            yield self._pose(key, self._moments.setdefault(key, len(self._moments)))

    def _pose(self, key: str, moment: int) -> RecordedPose:
        row, found = self.remaining.pop(key), self._keypoints
        vertices_mm = self._meshes.vertices_mm.get(key)
        return RecordedPose(
            key=key,
            moment=moment,
            uv_px=None if found.uv_px is None else found.uv_px[row],
            confidence=None if found.confidence is None else found.confidence[row],
            joints_m=None if found.xyz_mm is None else found.xyz_mm[row] / 1000,
            vertices_m=None if vertices_mm is None else vertices_mm / 1000,
        )


def _with_points(pose: RecordedPose) -> RecordedPose:
    """The pose with the measured points around its joints, of a depth sensor."""
    if pose.depth_m is None or pose.K is None or pose.joints_m is None:
        return pose
    v, u = np.nonzero(pose.depth_m > 0)
    rays = np.linalg.solve(pose.K.astype(float), np.stack([u, v, np.ones(len(u))])).T
    points_m = rays * pose.depth_m[v, u, None]
    low, high = pose.joints_m.min(0) - _AROUND_M, pose.joints_m.max(0) + _AROUND_M
    return replace(pose, points_m=points_m[((points_m > low) & (points_m < high)).all(1)])


def _upright(pose: RecordedPose, frame: RawFrame) -> RecordedPose:
    """The pose on the upright picture, with the axes of that picture in space."""
    info = FrameInfo.of(frame)

    def turned(points: np.ndarray | None) -> np.ndarray | None:
        return None if points is None else info.upright_axes(points)

    return replace(
        pose,
        image=None if frame.image is None else upright_image(frame.image, frame.turn, frame.mirror),
        size_px=info.upright_size_px,
        K=None if pose.K is None else info.upright_intrinsics(pose.K),
        box_xyxy=info.upright_box_xyxy,
        uv_px=None if pose.uv_px is None else info.upright_px(pose.uv_px),
        joints_m=turned(pose.joints_m),
        vertices_m=turned(pose.vertices_m),
        points_m=turned(pose.points_m),
    )
