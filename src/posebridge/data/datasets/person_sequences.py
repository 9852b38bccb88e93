"""The base of the readers of people in videos with 3D joints and a known camera.

SURREAL, Human3.6M, 3DPW and MPI-INF-3DHP are such sets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from posebridge.data.datasets.annotations import project
from posebridge.data.datasets.video_access import VideoAccess
from posebridge.data.frames import FrameIndex, FrameLabels, IndexedFrames, RawFrame, UnreadableFrameError
from posebridge.data.image_file import read_image
from posebridge.errors import InputError
from posebridge.geometry.boxes import JOINT_BOX_PADDING, joint_box
from posebridge.skeletons.orders import convert
from posebridge.skeletons.plausible_lengths import impossible_spreads
from posebridge.skeletons.skeleton import Skeleton

_NEAREST_M = 0.1


@dataclass(frozen=True)
class PersonSequence:
    """One person seen by one camera over T frames."""

    name: str
    key: str  # of a frame: this, an underscore, and its number in six digits
    images: Path | Mapping[int, Path]  # a video, or an image a frame number
    numbers: np.ndarray  # (T,) of the frames
    joints_m: np.ndarray  # (T, J, 3) camera frame
    K: np.ndarray  # (3, 3) of the images' pixels
    distortion: np.ndarray | None = None  # (5,) k1 k2 p1 p2 k3
    T_world_cam: np.ndarray | None = None  # (4, 4) of a static camera, (T, 4, 4) of one that moves
    view: int = 0

    def rows(self, kept: np.ndarray) -> "PersonSequence":
        """The frames of these rows, a mask or indices."""
        T = self.T_world_cam[kept] if self.T_world_cam is not None and self.T_world_cam.ndim == 3 else self.T_world_cam
        return replace(self, numbers=self.numbers[kept], joints_m=self.joints_m[kept], T_world_cam=T)


class PersonSequences(IndexedFrames):
    """One frame a person and an image. Pixels of joints are their projection, with lens distortion where it is known.

    The releases don't mark hidden joints: those inside the image count as visible. Left out, and counted in
    ``skipped``, are frames with a joint that is not finite or not in front of the camera, people entirely outside the
    image, and frames whose image is missing.
    """

    def __init__(
        self,
        sequences: Iterable[PersonSequence],
        joint_names: tuple[str, ...],
        skeleton: Skeleton,
        skipped: dict[str, str],
    ):
        """Joints are in the order ``joint_names``, an entry of ``ORDERS``; labels are in that of the skeleton.

        Raises ``InputError`` where no frame can be used, or the names don't fit the skeleton.
        """
        self.skeleton = skeleton
        self.joint_names = joint_names
        self.skipped = skipped
        skeleton.order_of(joint_names)  # refuses names that don't fit
        kept = (self._usable(sequence) for sequence in sequences)
        self.sequences = [sequence for sequence in kept if len(sequence.numbers)]
        if not self.sequences:
            reasons = "; ".join(f"{where}: {reason}" for where, reason in list(self.skipped.items())[:2])
            raise InputError(f"no frame of the sequences can be used: {reasons or 'there is none'}")
        self._ends = np.cumsum([len(sequence.numbers) for sequence in self.sequences])
        self._videos = VideoAccess()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken or was scaled."""
        sequence, row = self.locate(index)
        number = int(sequence.numbers[row])
        image = self._read(sequence, number)
        T = sequence.T_world_cam
        return RawFrame(
            image=image,
            key=f"{sequence.key}_{number:06d}",
            sequence=sequence.name,
            frame=number,
            view=sequence.view,
            K=sequence.K,
            box_xyxy=joint_box(self._pixels(sequence, row), JOINT_BOX_PADDING),
            distortion=sequence.distortion,
            T_world_cam=T[row] if T is not None and T.ndim == 3 else T,
        )

    def labels(self, index: int) -> FrameLabels:
        """Labels in the order of the skeleton, joints in the camera frame."""
        sequence, row = self.locate(index)
        uv, joints = self._pixels(sequence, row), sequence.joints_m[row].astype(np.float64)
        uv_px, valid = convert(uv, None, self.joint_names, self.skeleton)
        joints_m, visible = convert(joints, _inside(uv, sequence.K), self.joint_names, self.skeleton)
        return FrameLabels(uv_px, valid, visible, joints_m)

    def frame_index(self) -> FrameIndex:
        """Sequence, number and view of every frame."""
        counts = [len(sequence.numbers) for sequence in self.sequences]
        names = [sequence.name for sequence, count in zip(self.sequences, counts, strict=True) for _ in range(count)]
        numbers = np.concatenate([sequence.numbers for sequence in self.sequences])
        views = np.repeat([sequence.view for sequence in self.sequences], counts)
        return FrameIndex(tuple(names), numbers.astype(np.int64), views.astype(np.int64))

    def locate(self, index: int) -> tuple[PersonSequence, int]:
        """The sequence of a frame, and its row there. Raises ``IndexError`` beyond the last one."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        position = int(np.searchsorted(self._ends, index, side="right"))
        sequence = self.sequences[position]
        return sequence, index - int(self._ends[position]) + len(sequence.numbers)

    def _read(self, sequence: PersonSequence, number: int) -> np.ndarray:
        if isinstance(sequence.images, Path):
            image, file = self._videos.read(sequence.images, number), f"{sequence.images} frame {number}"
        else:
            file = sequence.images[number]
            image = read_image(file)
        height, width = image.shape[:2]
        cx, cy = sequence.K[:2, 2]
        if not (0.25 * width < cx < 0.75 * width and 0.25 * height < cy < 0.75 * height):
            raise UnreadableFrameError(
                file,
                f"it is {width}x{height}, but its camera is centred at ({cx:.0f}, {cy:.0f}): give unscaled images",
            )
        return image

    @staticmethod
    def _pixels(sequence: PersonSequence, row: int) -> np.ndarray:
        return project(sequence.joints_m[row], sequence.K, sequence.distortion)

    def _usable(self, sequence: PersonSequence) -> PersonSequence:
        nearest = sequence.joints_m[..., 2].min(axis=1)  # NaN where one is
        good = np.isfinite(sequence.joints_m).all(axis=(1, 2)) & np.greater(nearest, _NEAREST_M)
        self._note(sequence, ~good, "a joint is not finite or not in front of the camera")
        sequence = sequence.rows(good)
        impossible = impossible_spreads(sequence.joints_m, "person")
        self._note(sequence, impossible, "the joints span no person's size")
        sequence = sequence.rows(~impossible)
        seen = np.asarray(_inside(project(sequence.joints_m, sequence.K, sequence.distortion), sequence.K).any(axis=1))
        self._note(sequence, ~seen, "no joint lies inside the image")
        sequence = sequence.rows(seen)
        if not isinstance(sequence.images, Path):
            there = np.array([int(number) in sequence.images for number in sequence.numbers], dtype=bool)
            self._note(sequence, ~there, "the image is missing")
            sequence = sequence.rows(there)
        return sequence

    def _note(self, sequence: PersonSequence, bad: np.ndarray, reason: str) -> None:
        if bad.any():
            first = int(sequence.numbers[np.flatnonzero(bad)[0]])
            count = int(bad.sum())
            name = f"{sequence.key} frame {first}" if count == 1 else f"{sequence.key} {count} frames from {first} on"
            self.skipped[name] = reason


def _inside(uv_px: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Which pixels (..., 2) lie in the image, taken to be twice as large as its camera's centre."""
    size = 2 * K[:2, 2] + 1
    return np.asarray(((uv_px > -0.5) & (uv_px < size - 0.5)).all(axis=-1))


def numbered_images(folder: Path, prefix: str, suffix: str = ".jpg") -> dict[int, Path]:
    """Images ``<prefix><number><suffix>`` of a folder by their numbers."""
    files: dict[int, Path] = {}
    for file in sorted(folder.glob(f"{prefix}*{suffix}")):
        digits = file.name[len(prefix) : -len(suffix)]
        if digits.isascii() and digits.isdigit():
            files[int(digits)] = file
    return files
