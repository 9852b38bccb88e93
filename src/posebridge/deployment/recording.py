"""Poses over time as a recording for the Rerun viewer (``rerun FILE.rrd``): the one writer of such files."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from posebridge.errors import InputError
from posebridge.skeletons.joint_colours import joint_rgb
from posebridge.skeletons.skeleton import Skeleton

_SKIN = (232, 190, 172)
_MEASURED = (90, 220, 255)
_BOX = (240, 240, 240)
_BACKGROUND = (28, 30, 36)
_JPEG_QUALITY = 85
_POINT_M = 0.0006  # radius of measured points
_JOINT_OF_BONE, _BONE_OF_JOINT = 0.1, 0.5  # radius of joints over the mean bone, of bones over that of joints
_JOINT_PX, _BONE_PX = 3.0, 1.5  # radii on the screen
_CAMERA_OF_DISTANCE = 0.1  # from a camera to its image plane in the viewer, over that to the subject


@dataclass(frozen=True)
class RecordedPose:
    """One frame of one camera; every part but ``key`` and ``moment`` may be missing."""

    key: str
    moment: int  # frames of several cameras with the same number are of one instant
    view: int = 0  # number of the camera
    image: np.ndarray | None = None  # (H, W, 3) uint8 RGB
    depth_m: np.ndarray | None = None  # (H, W) of a depth sensor, shown in place of an image
    size_px: tuple[int, int] | None = None  # width and height of the pixels that K is for
    K: np.ndarray | None = None  # (3, 3)
    box_xyxy: np.ndarray | None = None  # (4,) pixels of the image
    uv_px: np.ndarray | None = None  # (J, 2) pixels of the image
    confidence: np.ndarray | None = None  # (J,) in [0, 1]
    joints_m: np.ndarray | None = None  # (J, 3) x right, y down, z forward
    vertices_m: np.ndarray | None = None  # (V, 3) in the same frame
    points_m: np.ndarray | None = None  # (n, 3) measured points in the same frame
    T_world_cam: np.ndarray | None = None  # (4, 4) of a calibrated camera


class Recording:
    """A recording that is written moment by moment.

    Below ``camera_N``: ``image`` with ``box``, ``joints`` and ``bones``; ``pose`` with ``joints``, ``bones`` and
    ``mesh`` in space; ``measured`` points; ``confidence``, a curve a joint; ``key``, the frame's name. A calibrated
    camera has its pose in the world; an uncalibrated one is the world's origin.
    """

    def __init__(self, path: Path, skeleton: Skeleton, faces: np.ndarray | None = None):
        """Open the file; ``faces`` (F, 3) of the meshes. Raises ``InputError`` where Rerun isn't installed, or the file
        can't be written.
        """
        self._rerun = _import_rerun()
        self._skeleton, self._faces = skeleton, faces
        self._views: dict[int, set[str]] = {}  # what each camera shows
        self._colours = np.array([joint_rgb(joint) for joint in skeleton.joints], dtype=np.uint8)
        self._parents, self._children = np.array(skeleton.bones).T
        self._recording = self._rerun.RecordingStream("posebridge")
        try:
            self._recording.save(path)
        except (OSError, RuntimeError) as error:
            raise InputError(f"cannot write {path}: {error}; choose another folder") from error
        # Cameras look along z, with y down.
        self._recording.log("/", self._rerun.ViewCoordinates.RIGHT_HAND_Y_DOWN, static=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._views:
            self._recording.send_blueprint(self._layout())
        self._recording.flush()
        self._recording.disconnect()

    def add(self, pose: RecordedPose) -> None:
        """Record one frame."""
        rr, log = self._rerun, self._recording.log
        camera = f"camera_{pose.view}"
        if pose.view not in self._views:
            self._views[pose.view] = set()
            self._log_constants(camera)
        self._recording.set_time("moment", sequence=pose.moment)
        log(f"{camera}/key", rr.TextDocument(pose.key))
        if pose.T_world_cam is not None:
            T = pose.T_world_cam
            log(camera, rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
        self._log_image(camera, pose)
        if pose.joints_m is not None:
            self._views[pose.view].add("space")
            self._log_space(camera, pose, pose.joints_m)
        if pose.confidence is not None:
            self._views[pose.view].add("confidence")
            log(f"{camera}/confidence", rr.Scalars(pose.confidence))

    def _log_constants(self, camera: str) -> None:
        rr, log = self._rerun, self._recording.log
        if self._faces is not None:
            constant = rr.Mesh3D.from_fields(triangle_indices=self._faces, albedo_factor=_SKIN)
            log(f"{camera}/pose/mesh", constant, static=True)
        curves = rr.SeriesLines(names=list(self._skeleton.joints), colors=self._colours)
        log(f"{camera}/confidence", curves, static=True)

    def _log_image(self, camera: str, pose: RecordedPose) -> None:
        rr, log = self._rerun, self._recording.log
        if pose.K is not None and pose.size_px is not None:
            width, height = pose.size_px
            away = None if pose.joints_m is None else _CAMERA_OF_DISTANCE * float(pose.joints_m[:, 2].mean())
            pinhole = rr.Pinhole(image_from_camera=pose.K, width=width, height=height, image_plane_distance=away)
            log(f"{camera}/image", pinhole)
        if pose.image is not None:
            self._views[pose.view].add("image")
            encoded = cv2.imencode(
                ".jpg", cv2.cvtColor(pose.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            )[1]
            log(f"{camera}/image", rr.EncodedImage(contents=encoded.tobytes(), media_type="image/jpeg"))
        if pose.depth_m is not None:
            self._views[pose.view].add("image")
            log(f"{camera}/image/depth", rr.DepthImage(pose.depth_m.astype(np.float32), meter=1.0))
        if pose.box_xyxy is not None:
            log(f"{camera}/image/box", rr.Boxes2D(array=pose.box_xyxy, array_format=rr.Box2DFormat.XYXY, colors=_BOX))
        if pose.uv_px is not None:
            self._views[pose.view].add("image")
            radii = -_JOINT_PX * self._sizes(pose)  # negative: of the screen
            joints = rr.Points2D(
                pose.uv_px, colors=self._colours, radii=radii, labels=self._skeleton.joints, show_labels=False
            )
            log(f"{camera}/image/joints", joints)
            bones = np.stack([pose.uv_px[self._parents], pose.uv_px[self._children]], axis=1)
            log(
                f"{camera}/image/bones",
                rr.LineStrips2D(bones, colors=self._colours[self._children], radii=-_BONE_PX),
            )

    def _log_space(self, camera: str, pose: RecordedPose, joints_m: np.ndarray) -> None:
        rr, log = self._rerun, self._recording.log
        bones = np.stack([joints_m[self._parents], joints_m[self._children]], axis=1)
        radius_m = _JOINT_OF_BONE * float(np.linalg.norm(bones[:, 1] - bones[:, 0], axis=1).mean())
        joints = rr.Points3D(
            joints_m,
            colors=self._colours,
            radii=radius_m * self._sizes(pose),
            labels=self._skeleton.joints,
            show_labels=False,
        )
        log(f"{camera}/pose/joints", joints)
        strips = rr.LineStrips3D(bones, colors=self._colours[self._children], radii=_BONE_OF_JOINT * radius_m)
        log(f"{camera}/pose/bones", strips)
        if pose.vertices_m is not None and self._faces is not None:
            normals = _normals(pose.vertices_m, self._faces)
            mesh = rr.Mesh3D.from_fields(vertex_positions=pose.vertices_m, vertex_normals=normals)
            log(f"{camera}/pose/mesh", mesh)
        if pose.points_m is not None:
            log(f"{camera}/measured", rr.Points3D(pose.points_m, colors=_MEASURED, radii=_POINT_M))

    def _sizes(self, pose: RecordedPose) -> np.ndarray:
        """(J,) factors of joints: less confident ones are smaller."""
        confidence = np.ones(len(self._skeleton)) if pose.confidence is None else pose.confidence
        return 0.3 + 0.7 * confidence

    def _layout(self) -> Any:
        """Images above curves at the left, space at the right; what no camera has is left out."""
        rrb, shown = self._rerun.blueprint, set().union(*self._views.values())
        flat = [
            rrb.Spatial2DView(origin=f"/camera_{view}/image", name=f"camera {view}")
            for view, has in sorted(self._views.items())
            if "image" in has
        ]
        curves = [
            rrb.TimeSeriesView(origin=f"/camera_{view}/confidence", name=f"confidence, camera {view}")
            for view in sorted(self._views)
            if "confidence" in self._views[view]
        ]
        names = [rrb.TextDocumentView(origin=f"/camera_{view}/key", name="frame") for view in sorted(self._views)[:1]]
        columns = [rrb.Vertical(*_tabs(rrb, flat), *_tabs(rrb, curves), *names, row_shares=_rows(flat, curves))]
        if "space" in shown:
            # Depth images of whole rooms would surround the hand with points.
            contents = ["+ /**", *(f"- /camera_{view}/image/depth" for view in self._views)]
            columns.append(rrb.Spatial3DView(origin="/", contents=contents, background=_BACKGROUND, name="space"))
        return rrb.Blueprint(rrb.Horizontal(*columns), collapse_panels=True)


def _normals(vertices_m: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, without which the viewer shades no mesh: means of those of the faces, by their areas."""
    a, b, c = vertices_m[faces].swapaxes(0, 1)
    sums = np.zeros_like(vertices_m)
    np.add.at(sums, faces, np.cross(b - a, c - a)[:, None])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _tabs(rrb: Any, views: Sequence[Any]) -> list[Any]:
    return list(views) if len(views) < 2 else [rrb.Tabs(*views)]


def _rows(flat: Sequence[Any], curves: Sequence[Any]) -> list[float]:
    return [*([4.0] if flat else []), *([2.0] if curves else []), 1.0]


def _import_rerun() -> Any:
    if importlib.util.find_spec("rerun") is None:
        raise InputError("Rerun, which writes recordings, is not installed: pip install 'posebridge[view]'")
    os.environ.setdefault("RERUN_ANALYTICS_ENABLED", "0")
    import rerun.blueprint

    return rerun
