"""Views of cameras that Qualisys calibrated: an unlabelled target of synchronised videos.

``*.qca.txt`` is XML: a ``camera`` each, with ``transform`` (the place x y z in mm, and r11 ... r33, whose rows are
the camera's axes right, up and backwards in the world) and ``intrinsic`` (focal lengths and centre in 1/64 px,
Brown-Conrady lens).
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posebridge.cameras.intrinsics import camera_matrix
from posebridge.data.datasets.annotations import MM, checked_intrinsics, is_rigid, pose_of_camera
from posebridge.data.datasets.found_files import visible_files
from posebridge.data.datasets.video_access import VideoAccess
from posebridge.data.datasets.video_file import VIDEO_SUFFIXES
from posebridge.data.datasets.video_orientation import check_upright
from posebridge.data.datasets.video_times import check_same_times
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame
from posebridge.errors import InputError
from posebridge.regular_files import read_file

_SUBPIXELS = 64.0
_LENS = (
    "radialDistortion1",
    "radialDistortion2",
    "tangentalDistortion1",  # so it is spelt
    "tangentalDistortion2",
    "radialDistortion3",
)


@dataclass(frozen=True)
class CalibratedCamera:
    """One camera of a calibrated group."""

    name: str
    K: np.ndarray  # (3, 3)
    distortion: np.ndarray  # (5,) k1 k2 p1 p2 k3
    T_world_cam: np.ndarray  # (4, 4) metres
    size_px: tuple[int, int]  # width, height


def read_qualisys(path: str | Path) -> tuple[CalibratedCamera, ...]:
    """The cameras of a calibration, in its order.

    Raises ``InputError`` for a missing or other file, and for impossible cameras: intrinsics of no pixels, rotations
    that are none, positions beyond a hundred metres.
    """
    path = Path(path)
    try:
        root = ElementTree.fromstring(read_file(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not XML: {error}") from None
    cameras = tuple(_read_camera(element, path) for element in root.findall("cameras/camera"))
    if not cameras:
        raise InputError(f"{path}: no cameras/camera is in it: expected Qualisys' calibration, .qca.txt")
    if len({camera.name for camera in cameras}) < len(cameras):
        raise InputError(f"{path}: two cameras have the same serial")
    return cameras


def _read_camera(element: ElementTree.Element, path: Path) -> CalibratedCamera:
    name = element.get("serial", "")
    where = f"{path}: camera {name}"
    transform, intrinsic = element.find("transform"), element.find("intrinsic")
    if transform is None or intrinsic is None:
        raise InputError(f"{where} lacks its transform or its intrinsic")
    axes = np.array([_attributes(transform, [f"r{i}{j}" for j in (1, 2, 3)], where) for i in (1, 2, 3)])
    R_cam_world = np.diag([1.0, -1, -1]) @ axes  # up and backwards become down and forwards
    T_world_cam = pose_of_camera(R_cam_world, _attributes(transform, ["x", "y", "z"], where) * MM)
    if not is_rigid(T_world_cam) or np.abs(T_world_cam[:3, 3]).max() > 100:
        raise InputError(f"{where} has an impossible pose: expected a rotation, and a place in millimetres")
    names = ["focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "sensorMaxU", "sensorMaxV"]
    fx, fy, cx, cy, right, bottom = (_attributes(intrinsic, names, where) / _SUBPIXELS).tolist()
    K = checked_intrinsics(camera_matrix(fx, fy, cx, cy), where)
    size_px = (round(right) + 1, round(bottom) + 1)
    return CalibratedCamera(name, K, _attributes(intrinsic, _LENS, where), T_world_cam, size_px)


def _attributes(element: ElementTree.Element, names: list[str] | tuple[str, ...], where: str) -> np.ndarray:
    try:
        values = np.array([element.attrib[name] for name in names], dtype=np.float64)
    except KeyError as error:
        raise InputError(f"{where}: {element.tag} lacks {error}") from None
    except ValueError:
        raise InputError(f"{where}: {element.tag} has {', '.join(names)} that are not numbers") from None
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {element.tag} has {', '.join(names)} that are not finite")
    return values


class CalibratedVideos(IndexedFrames):
    """Frames of synchronised videos, a video a camera, named by its serial: all views of frame 0, then of frame 1.

    Sequence the folder's name, view the camera's place in the calibration, key ``cam01_000012``.
    """

    def __init__(self, folder: str | Path, calibration: str | Path, every: int = 1, letterboxed: bool = False):
        """``every`` n-th frame. ``letterboxed``: a video of another size than calibrated shows the calibrated picture,
        scaled evenly and centred, as services that blur faces return it; its intrinsics follow.

        Raises ``InputError`` where a video has no camera, another size or an orientation, none is there, or frames of
        one number are not of one time. Cameras without a video are listed in ``skipped``, and the frames that not every
        video has.
        """
        folder = Path(folder)
        self.name = folder.name
        self.letterboxed = letterboxed
        self.skipped: dict[str, str] = {}
        self.cameras = read_qualisys(calibration)
        videos = _videos_by_camera(folder, [camera.name for camera in self.cameras], calibration)
        self._views = [(view, videos[camera.name]) for view, camera in enumerate(self.cameras) if camera.name in videos]
        for camera in self.cameras:
            if camera.name not in videos:
                self.skipped[str(folder / f"{camera.name}.mp4")] = "the video is missing"
        self._access = VideoAccess(keep_open=len(self._views))
        indices = {file: self._access.index(file) for _, file in self._views}
        check_same_times(indices)
        check_upright(indices)
        for file, index in indices.items():
            if index.packets.cut_short:
                self.skipped[f"{file} from frame {index.count}"] = index.packets.cut_short
        lengths = [index.count for index in indices.values()]
        self._numbers = range(0, min(lengths), every)
        if max(lengths) > min(lengths):
            self.skipped[f"{folder} from frame {min(lengths)} on"] = "not every video has these frames"

    def __len__(self) -> int:
        return len(self._numbers) * len(self._views)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its video is broken."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        position, place = divmod(index, len(self._views))
        number, (view, file) = self._numbers[position], self._views[place]
        camera = self.cameras[view]
        image = self._access.read(file, number)
        size_px = (image.shape[1], image.shape[0])
        if size_px != camera.size_px and not self.letterboxed:
            raise InputError(
                f"{file}: {size_px[0]}x{size_px[1]}, but calibrated at {camera.size_px[0]}x{camera.size_px[1]}: "
                "give the original video, or letterboxed=True if it was scaled into that frame"
            )
        return RawFrame(
            image=image,
            key=f"{camera.name}_{number:06d}",
            sequence=self.name,
            frame=number,
            view=view,
            K=_letterbox(camera.size_px, size_px) @ camera.K,
            distortion=camera.distortion,
            T_world_cam=camera.T_world_cam,
        )

    def frame_index(self) -> FrameIndex:
        """The folder's name, number and view of every frame."""
        return FrameIndex.of((self.name, number, view) for number in self._numbers for view, _ in self._views)


def _videos_by_camera(folder: Path, names: list[str], calibration: str | Path) -> dict[str, Path]:
    """The videos below a folder by their stems, which are the names of cameras."""
    videos: dict[str, Path] = {}
    for file in visible_files(folder, VIDEO_SUFFIXES):
        if file.stem not in names:
            raise InputError(f"{file}: no camera of {calibration} has this name; it has {', '.join(names)}")
        if file.stem in videos:
            both = f"{videos[file.stem].name} and {file.name}"
            raise InputError(f"{folder}: two videos of one camera, {both}: keep one")
        videos[file.stem] = file
    if not videos:
        raise InputError(f"{folder}: no video called {names[0]}.mp4 and so on is there")
    return videos


def _letterbox(old_px: tuple[int, int], new_px: tuple[int, int]) -> np.ndarray:
    """The pixel map (3, 3) from an image into a frame that shows it as large as fits, in the middle."""
    scale = min(new / old for new, old in zip(new_px, old_px, strict=True))
    shift = [(new - scale * old) / 2 + (scale - 1) / 2 for new, old in zip(new_px, old_px, strict=True)]
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
