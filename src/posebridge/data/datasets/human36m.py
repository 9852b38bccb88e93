"""Human3.6M (Ionescu et al., TPAMI 2014), as released or with its frames extracted.

As released: ``S1/Videos/Directions 1.54138969.mp4`` with ``S1/MyPoseFeatures/D3_Positions_mono/Directions
1.54138969.cdf`` (also looked for in ``S1/Poses_D3_Positions_mono``); reading CDF needs ``pip install cdflib``.
Extracted, as the public script h36m-fetch leaves it: ``S1/Directions-1/annot.h5`` with ``imageSequence/54138969/
img_000001.jpg``; reading it needs ``pip install h5py``. Either way the release's ``metadata.xml`` holds the cameras.
Joints are the measured ones, in millimetres in the camera's frame, not those of the universal skeleton. Without the
annotations, ``S1/Videos`` is a ``VideoFolder`` and ``imageSequence`` an ``ImageFolder``.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posebridge.data.datasets.annotations import MM, numbers, optional_library, read_h5
from posebridge.data.datasets.human36m_cameras import CAMERAS, StudioCamera, read_cameras
from posebridge.data.datasets.options import Human36MProtocol, Split
from posebridge.data.datasets.person_sequences import PersonSequence, PersonSequences, numbered_images
from posebridge.data.natural_order import natural_path_key
from posebridge.errors import InputError, one_line
from posebridge.regular_files import absence
from posebridge.skeletons.body import H36M17
from posebridge.skeletons.orders import ORDERS
from posebridge.skeletons.plausible_lengths import check_unit
from posebridge.skeletons.skeleton import Skeleton

SUBJECTS: dict[Human36MProtocol, dict[Split, tuple[int, ...]]] = {
    "protocol1": {"train": (1, 5, 6, 7, 8), "test": (9, 11)},
    "s11": {"train": (1, 5, 6, 7, 8, 9), "test": (11,)},
}
_JOINTS = 32
_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # those that move, in the order of H36M17
_POSE_FOLDERS = ("MyPoseFeatures/D3_Positions_mono", "Poses_D3_Positions_mono")


class Human36M(PersonSequences):
    """One frame a picture; sequence ``S1_Directions_1``, view 0 to 3, key ``S1_Directions_1.54138969_000123``.

    ``protocol1`` trains on S1, S5 to S8 and tests on S9 and S11; ``s11`` tests on S11 alone.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        protocol: Human36MProtocol = "protocol1",
        views: tuple[int, ...] = (0, 1, 2, 3),
        every: int = 1,
        skeleton: Skeleton = H36M17,
        metadata: str | Path | None = None,
    ):
        """``views``: positions in ``CAMERAS``. ``every`` n-th of the annotated frames. ``metadata``: where it isn't
        ``root / "metadata.xml"``.

        Raises ``InputError`` where a subject's folder or the cameras are missing, no sequence is usable, or joints are
        not in millimetres.
        """
        root = Path(root)
        studio = read_cameras(root / "metadata.xml" if metadata is None else Path(metadata))
        if unknown := sorted({*views} - {*range(len(CAMERAS))}):
            raise InputError(f"{root}: Human3.6M has the views 0 to {len(CAMERAS) - 1}, not {unknown[0]}")
        skipped: dict[str, str] = {}
        sequences: list[PersonSequence] = []
        for subject in SUBJECTS[protocol][split]:
            folder = root / f"S{subject}"
            cameras = {CAMERAS[view]: studio[subject, CAMERAS[view]] for view in views}
            for sequence in _read_subject(folder, cameras, skipped):
                sequences.append(sequence.rows(np.arange(0, len(sequence.numbers), every)))
        super().__init__(sequences, ORDERS["h36m"], skeleton, skipped)


def _read_subject(folder: Path, cameras: dict[str, StudioCamera], skipped: dict[str, str]) -> Iterator[PersonSequence]:
    if videos := sorted((folder / "Videos").glob("*.mp4"), key=natural_path_key):
        yield from _read_release(folder, videos, cameras, skipped)
    elif files := sorted(folder.glob("*/annot.h5"), key=natural_path_key):
        for file in files:
            yield from _read_extracted(file, cameras, skipped)
    else:
        raise InputError(f"{folder}: neither Videos/<action>.<camera>.mp4 nor <action>/annot.h5 is there")


def _read_release(
    folder: Path, videos: list[Path], cameras: dict[str, StudioCamera], skipped: dict[str, str]
) -> Iterator[PersonSequence]:
    for video in videos:
        action, _, name = video.stem.rpartition(".")
        if name not in cameras or action.startswith("_ALL"):  # _ALL: calibration of the release
            continue
        places = [folder / place / f"{video.stem}.cdf" for place in _POSE_FOLDERS]
        file = next((place for place in places if place.is_file()), places[0])
        try:
            poses = _read_cdf(file)
        except InputError as error:
            skipped[str(file)] = str(error).removeprefix(f"{file}: ")
            continue
        yield _sequence(file, action, video, np.arange(len(poses)), poses, (name, cameras[name]))


def _read_extracted(file: Path, cameras: dict[str, StudioCamera], skipped: dict[str, str]) -> Iterator[PersonSequence]:
    try:
        poses, frames, camera_of_row = _read_h5(file)
    except InputError as error:
        skipped[str(file)] = str(error).removeprefix(f"{file}: ")
        return
    for name, camera in cameras.items():
        rows = camera_of_row == int(name)
        images = numbered_images(file.parent / "imageSequence" / name, "img_")
        if rows.any():
            yield _sequence(file, file.parent.name, images, frames[rows], poses[rows], (name, camera))


def _sequence(
    file: Path,
    action: str,
    images: Path | dict[int, Path],
    frames: np.ndarray,
    poses_mm: np.ndarray,
    camera: tuple[str, StudioCamera],
) -> PersonSequence:
    joints_m = poses_mm[:, _OF_32] * MM
    check_unit(joints_m, "person", f"{file}: people", "millimetres")
    subject = next(part for part in reversed(file.parts) if part[:1] == "S" and part[1:].isdigit())
    name = f"{subject}_{action.replace(' ', '_').replace('-', '_')}"
    return PersonSequence(
        name=name,
        key=f"{name}.{camera[0]}",
        images=images,
        numbers=frames,
        joints_m=joints_m.astype(np.float32),
        K=camera[1].K,
        distortion=camera[1].distortion,
        T_world_cam=camera[1].T_world_cam,
        view=CAMERAS.index(camera[0]),
    )


def _read_cdf(file: Path) -> np.ndarray:
    """Poses (T, 32, 3) in millimetres."""
    cdflib = optional_library("cdflib", str(file))
    if not file.is_file():
        raise InputError(f"{file}: {absence(file)}")
    try:
        pose = np.asarray(cdflib.CDF(str(file)).varget("Pose"), dtype=np.float64)
    except Exception as error:  # a damaged file may raise any exception in the library
        raise InputError(f"{file}: not a CDF file with a variable Pose: {one_line(error)}") from None
    pose = numbers(pose.reshape(-1, pose.shape[-1]), (None, 3 * _JOINTS), f"{file}: Pose")
    return pose.reshape(-1, _JOINTS, 3)


def _read_h5(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 32, 3) in millimetres, frame numbers (N,) and cameras (N,) of all views, one after the other."""
    arrays = read_h5(file, ("pose/3d", "frame", "camera"))
    poses = numbers(arrays[0], (None, _JOINTS, 3), f"{file}: pose/3d")
    frames, cameras = (numbers(array, (len(poses),), f"{file}: frame, camera").astype(int) for array in arrays[1:])
    return poses, frames, cameras
