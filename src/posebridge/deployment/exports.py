"""Predictions in formats of other tools, beside ``predictions.npz``."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from posebridge.contracts.files import write_atomically
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.deployment.coco_files import ANNOTATIONS, RESULTS, coco_files
from posebridge.deployment.csv_file import keypoints_csv
from posebridge.deployment.frame_info import FrameInfo
from posebridge.deployment.glb_animation import animation_glb
from posebridge.deployment.mesh_set import MeshSet, join_meshes
from posebridge.deployment.predict_config import ExportFormat
from posebridge.errors import InputError
from posebridge.skeletons.skeleton import Skeleton

TABLE = "predictions.csv"
_ANIMATION, _ANIMATIONS = "predictions", "animations"
EXPORTED = (
    TABLE,
    ANNOTATIONS,
    RESULTS,
    f"{_ANIMATION}*.glb",
    f"{_ANIMATIONS}/**/*.glb",
)  # patterns of file names
UNKNOWN_RATE = Fraction(25)  # frames a second of input that declares none


@dataclass
class Exports:
    """Collects what the chosen formats need besides keypoints, and writes them at the end."""

    formats: tuple[ExportFormat, ...]
    folder: Path
    root: Path  # folder of the input, below which images have their names
    skeleton: Skeleton
    rates: Mapping[str, Fraction] = field(default_factory=dict)  # frames a second of each sequence that declares them
    _meshes: list[MeshSet] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        formats: tuple[ExportFormat, ...],
        folder: Path,
        source: Path,
        skeleton: Skeleton,
        rates: Mapping[str, Fraction] | None = None,
    ) -> "Exports":
        """Exports of predictions on ``source``, a file or a folder."""
        root = source if source.is_dir() else source.parent
        return cls(tuple(dict.fromkeys(formats)), folder, root, skeleton, rates or {})

    @property
    def takes_meshes(self) -> bool:
        """Whether a format holds meshes."""
        return "glb" in self.formats

    def add_meshes(self, meshes: MeshSet) -> None:
        """Keep the meshes of a batch where a format takes them, 9 KB a frame of Anny's hand."""
        if self.takes_meshes:
            self._meshes.append(meshes)

    def write(self, keypoints: KeypointSet, frames: Mapping[str, FrameInfo]) -> set[Path]:
        """Write all formats and return their paths; ``frames`` has all that were predicted, by key.

        Raises ``InputError`` where the disk refuses.
        """
        if not self.formats:
            return set()
        infos = [frames[key] for key in keypoints.key.tolist()]
        written: set[Path] = set()
        for name in self.formats:
            for file, content in _WRITERS[name](self, keypoints, infos).items():
                write_atomically(self.folder / file, content)
                written.add(self.folder / file)
        return written

    def notes(self, keypoints: KeypointSet) -> tuple[str, ...]:
        """A line about a format that could not be written; nothing otherwise."""
        if "glb" in self.formats and keypoints.xyz_mm is None:
            return ("no .glb: it needs joints in millimetres",)
        return ()

    def table(self, keypoints: KeypointSet, _: Sequence[FrameInfo]) -> dict[str, bytes]:
        """The table by its name."""
        return {TABLE: keypoints_csv(keypoints)}

    def coco(self, keypoints: KeypointSet, frames: Sequence[FrameInfo]) -> dict[str, bytes]:
        """COCO's files by name."""
        return coco_files(keypoints, frames, self.skeleton, self.root)

    def animations(self, keypoints: KeypointSet, frames: Sequence[FrameInfo]) -> dict[str, bytes]:
        """A .glb of each camera's view of each sequence, by name; none without joints in millimetres."""
        if keypoints.xyz_mm is None:
            return {}
        meshes = join_meshes(self._meshes) if self._meshes else None
        rows_of = defaultdict[tuple[str, int], list[int]](list)
        for row, frame in enumerate(frames):
            rows_of[frame.sequence, frame.view].append(row)
        several_views = len({view for _, view in rows_of}) > 1
        files: dict[str, bytes] = {}
        for (sequence, view), rows in rows_of.items():
            rows.sort(key=lambda row: frames[row].frame)
            seconds = _seconds([frames[row].frame for row in rows], self.rates.get(sequence, UNKNOWN_RATE))
            files[_animation_name(sequence, view if several_views else None)] = animation_glb(
                self.skeleton,
                seconds,
                np.stack([frames[row].upright_axes(keypoints.xyz_mm[row]) for row in rows]) / 1000,
                None if meshes is None else meshes.vertices_mm[rows] / 1000,
                None if meshes is None else meshes.faces,
            )
        return files


_WRITERS: Mapping[ExportFormat, Callable[[Exports, KeypointSet, Sequence[FrameInfo]], dict[str, bytes]]] = {
    "coco": Exports.coco,
    "csv": Exports.table,
    "glb": Exports.animations,
}


def _seconds(numbers: Sequence[int], rate: Fraction) -> np.ndarray:
    """Times of frames since the first one; where two have the same number, of one after the other."""
    steps = np.array(numbers) - numbers[0]
    if (np.diff(steps) == 0).any():
        steps = np.arange(len(numbers))
    return steps / float(rate)


def _animation_name(sequence: str, view: int | None) -> str:
    """Sequences have names of their own below a folder, so that none is mistaken for the unnamed one.

    Raises ``InputError`` for a name that leads out of the folder.
    """
    place = Path(sequence)
    if place.is_absolute() or ".." in place.parts or "\0" in sequence:
        raise InputError(f"the sequence {sequence!r} is no name of a file: give each sequence a relative one")
    of_view = "" if view is None else f".view{view}"
    return f"{_ANIMATIONS}/{sequence}{of_view}.glb" if sequence else f"{_ANIMATION}{of_view}.glb"
