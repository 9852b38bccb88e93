"""A folder of images, or one image: the usual unlabelled target, and any dataset's images without its annotations."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from posebridge.contracts.image_formats import IMAGE_SUFFIXES
from posebridge.contracts.names import normal_name
from posebridge.data.datasets.found_files import FoundFiles, find_files
from posebridge.data.datasets.options import SequenceBy
from posebridge.data.frames import FrameIndex, IndexedFrames, RawFrame
from posebridge.data.image_file import further_pages, read_picture
from posebridge.errors import InputError


class ImageFolder(IndexedFrames):
    """Images below a folder, in natural order of their paths; hidden files are left out.

    ``key`` is the file's stem, or the path below the folder without its suffix where stems repeat between sub-folders,
    in composed Unicode (NFC). ``sequence`` is the sub-folder ("" at the top), ``frame`` the image's number in it. By
    name, ``walk_0012`` is frame 12 of the sequence ``walk`` of its sub-folder. Pixels are as stored, so predictions are
    in pixels of the file on disk; ``turn`` and ``mirror`` hold the EXIF orientation. All other files below the folder,
    and further pages of a file, are in ``skipped``.
    """

    def __init__(self, path: str | Path, sequence_by: SequenceBy = "folder"):
        """Raises ``InputError`` for a missing or empty folder, and for two images that differ in their suffix only."""
        self.path = Path(path)
        found = find_images(self.path)
        self.files, self.skipped = found.files, dict(found.skipped)
        root = self.path if self.path.is_dir() else self.path.parent
        below = [file.relative_to(root) for file in self.files]
        self.keys = unique_keys(self.path, below)
        self._sequences, self._frames = (_by_folder if sequence_by == "folder" else _by_name)(below)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> RawFrame:
        """Returns the frame. Raises ``UnreadableFrameError`` where its file is broken."""
        file = self.files[index]
        picture = read_picture(file)
        self.skipped.update(further_pages(file))
        return RawFrame(
            picture.image,
            self.keys[index],
            self._sequences[index],
            self._frames[index],
            turn=picture.turn,
            mirror=picture.mirror,
            file=file,
        )

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


def find_images(path: Path) -> FoundFiles:
    """The image files below a folder, or the one file given. ``InputError`` where there is none."""
    if path.is_file():
        return FoundFiles([path])
    if not path.is_dir():
        raise InputError(f"{path}: {'neither a file nor a folder' if path.exists() else 'no such file or folder'}")
    found = find_files(path, IMAGE_SUFFIXES)
    if not found.files:
        raise InputError(f"{path}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}){found.example()}")
    return found


def unique_keys(path: Path, below: list[Path]) -> list[str]:
    """Keys of different files in NFC: their stems, or paths without suffix where stems repeat between folders.

    Raises ``InputError``, which names ``path``, for files that differ in their suffix only.
    """
    stems = [normal_name(file.stem) for file in below]
    if len(set(stems)) == len(stems):
        return stems
    keys = [normal_name(file.with_suffix("").as_posix()) for file in below]
    (key, count), *_ = Counter(keys).most_common(1)
    if count > 1:
        raise InputError(f"{path}: {count} images are called {key}, with different suffixes; keep one of them")
    return keys
