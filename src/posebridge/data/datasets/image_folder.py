"""A folder of images, or one image: the usual unlabelled target, and any dataset's images without its annotations."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from posebridge.data.datasets.options import SequenceBy
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame, read_image
from posebridge.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


class ImageFolder(IndexedFrames):
    """Images below a folder, sorted by path; hidden files are left out.

    ``key`` is the file's stem, or the path below the folder without its suffix where stems repeat between sub-folders.
    ``sequence`` is the sub-folder ("" at the top), ``frame`` the image's number in it. By name, ``walk_0012`` is frame
    12 of the sequence ``walk`` of its sub-folder. Pixels are as stored: an EXIF orientation is not applied, so that
    predictions are in pixels of the file on disk.
    """

    def __init__(self, path: str | Path, sequence_by: SequenceBy = "folder"):
        """Raises ``InputError`` for a missing or empty folder, and for two images that differ in their suffix only."""
        self.path = Path(path)
        self.skipped: dict[str, str] = {}
        self.files = list_images(self.path)
        root = self.path if self.path.is_dir() else self.path.parent
        below = [file.relative_to(root) for file in self.files]
        self.keys = _keys(self.path, below)
        self._sequences, self._frames = (_by_folder if sequence_by == "folder" else _by_name)(below)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        image = read_image(self.files[index])
        return RawFrame(image, self.keys[index], self._sequences[index], self._frames[index])

    def frame_index(self) -> FrameIndex:
        """Sequence and number of every image; all are of view 0."""
        return FrameIndex.of((name, number, 0) for name, number in zip(self._sequences, self._frames, strict=True))


def _by_folder(below: list[Path]) -> tuple[list[str], list[int]]:
    sequences = ["" if file.parent == Path() else file.parent.as_posix() for file in below]
    return sequences, numbers_within(sequences)


def numbers_within(sequences: Iterable[str]) -> list[int]:
    """For each frame its number in its sequence, counted from 0 in the order given."""
    counts: Counter[str] = Counter()
    numbers: list[int] = []
    for sequence in sequences:
        numbers.append(counts[sequence])
        counts[sequence] += 1
    return numbers


def _by_name(below: list[Path]) -> tuple[list[str], list[int]]:
    """Sequence and frame by the number at the end of each stem; a stem without one is a sequence of one frame."""
    sequences, frames = [], []
    for file in below:
        number = re.search(r"\d*$", file.stem)
        digits = number.group() if number else ""
        name = file.stem.removesuffix(digits).rstrip("_-. ")
        sequences.append((file.parent / name).as_posix() if name else file.parent.as_posix().removeprefix("."))
        frames.append(int(digits or 0))
    return sequences, frames


def list_images(path: Path) -> list[Path]:
    """The image files below a folder, sorted; or the one file given. ``InputError`` where there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    files = visible_files(path, IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"{path}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def visible_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files below ``folder`` with one of the suffixes, sorted by path; nothing whose name starts with a dot."""
    files = [file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file()]
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _keys(path: Path, below: list[Path]) -> list[str]:
    stems = [file.stem for file in below]
    if len(set(stems)) == len(stems):
        return stems
    keys = [file.with_suffix("").as_posix() for file in below]
    (key, count), *_ = Counter(keys).most_common(1)
    if count > 1:
        raise InputError(f"{path}: {count} images are called {key}, with different suffixes; keep one of them")
    return keys
