"""Depth hands in space and over time, as a recording for the Rerun viewer (``rerun hands.rrd``)."""

import importlib.util
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Int
from torch import Tensor

from posebridge.contracts.batch import UnlabelledBatch
from posebridge.deployment.depth_overlay import measured_points
from posebridge.deployment.depth_predictor import DepthHands
from posebridge.deployment.overlay import colour_of
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

RECORDING = "hands.rrd"
_SKIN = (232, 190, 172)
_MEASURED = (90, 220, 255)
_BACKGROUND = (28, 30, 36)
_BONE_M, _JOINT_M, _POINT_M = 0.0015, 0.003, 0.0006  # radii
_CAMERA_M = 0.05  # from a camera to its image plane in the viewer


class SpaceView:
    """A recording of measured points, mesh and joints below each camera, moment by moment.

    A calibrated camera has its pose in the world; an uncalibrated one is the world's origin. Times count the moments
    in their order.
    """

    def __init__(self, path: Path, faces: Int[Tensor, "F 3"], skeleton: Skeleton, cube_m: float):
        """Open the file. Raises ``InputError`` where Rerun isn't installed, or the file can't be written."""
        self._rerun = _import_rerun()
        self._faces, self._skeleton, self._cube_m = faces.numpy(), skeleton, cube_m
        self._moments: dict[tuple[str, int], int] = {}
        self._cameras: set[str] = set()
        self._colours = np.array([colour_of(joint) for joint in skeleton.joints], dtype=np.uint8)
        self._recording = self._rerun.RecordingStream("posebridge")
        rrb = self._rerun.blueprint
        try:
            self._recording.save(
                path, rrb.Blueprint(rrb.Spatial3DView(origin="/", background=_BACKGROUND), collapse_panels=True)
            )
        except (OSError, RuntimeError) as error:
            raise InputError(f"cannot write {path}: {error}; choose another folder") from error
        # Cameras look along z, with y down.
        self._recording.log("/", self._rerun.ViewCoordinates.RIGHT_HAND_Y_DOWN, static=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._recording.flush()
        self._recording.disconnect()

    def add(self, crops: UnlabelledBatch, hands: DepthHands) -> None:
        """Record the hands of a batch."""
        crops = crops.to("cpu")
        for i, key in enumerate(crops.key):
            self._recording.set_time("moment", sequence=self._moment(crops, i, key))
            camera = self._camera(0 if crops.view is None else int(crops.view[i]))
            self._log_camera(camera, crops[i : i + 1], key)
            self._log_hand(camera, hands, i)

    def _moment(self, crops: UnlabelledBatch, i: int, key: str) -> int:
        sequence = "" if crops.sequence is None else crops.sequence[i]
        named = (key, 0) if crops.frame is None else (sequence, int(crops.frame[i]))
        return self._moments.setdefault(named, len(self._moments))

    def _camera(self, view: int) -> str:
        """Path of a camera in the recording; constant data is logged at its first use."""
        camera = f"camera_{view}"
        if camera not in self._cameras:
            self._cameras.add(camera)
            constant = self._rerun.Mesh3D.from_fields(triangle_indices=self._faces, albedo_factor=_SKIN)
            self._recording.log(f"{camera}/hand/mesh", constant, static=True)
        return camera

    def _log_camera(self, camera: str, crop: UnlabelledBatch, key: str) -> None:
        rr, log = self._rerun, self._recording.log
        assert crop.camera is not None
        assert crop.depth_m is not None
        height, width = crop.depth_m.shape[-2:]
        if crop.T_world_cam is not None:
            T = crop.T_world_cam[0].double().numpy()
            log(camera, rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
        K = crop.camera.K[0].numpy()
        pinhole = rr.Pinhole(image_from_camera=K, width=width, height=height, image_plane_distance=_CAMERA_M)
        log(f"{camera}/crop", pinhole)
        points = measured_points(crop, self._cube_m).numpy()
        log(f"{camera}/measured", rr.Points3D(points, colors=_MEASURED, radii=_POINT_M))
        log(f"{camera}/key", rr.TextDocument(key))

    def _log_hand(self, camera: str, hands: DepthHands, i: int) -> None:
        rr, log = self._rerun, self._recording.log
        joints_m = hands.joints_m[i].cpu().numpy()
        log(f"{camera}/hand/mesh", rr.Mesh3D.from_fields(vertex_positions=hands.vertices_m[i].cpu().numpy()))
        # Less confident joints are smaller.
        radii = _JOINT_M * (0.3 + 0.7 * hands.confidence[i].cpu().numpy())
        names = self._skeleton.joints
        log(
            f"{camera}/hand/joints",
            rr.Points3D(joints_m, colors=self._colours, radii=radii, labels=names, show_labels=False),
        )
        parents, children = np.array(self._skeleton.bones).T
        bones = np.stack([joints_m[parents], joints_m[children]], axis=1)
        log(f"{camera}/hand/bones", rr.LineStrips3D(bones, colors=self._colours[children], radii=_BONE_M))


def _import_rerun() -> Any:
    if importlib.util.find_spec("rerun") is None:
        raise InputError("Rerun, which writes the 3D view, is not installed: pip install 'posebridge[view]'")
    os.environ.setdefault("RERUN_ANALYTICS_ENABLED", "0")
    import rerun.blueprint

    return rerun
