"""Depth releases that list their frames in a text file: one line a frame, its file's name and its joints.

The list gives the order of the frames, by which published centres and predictions are matched. Its numbers are read
by the first call of ``labels``, not before.
"""

from pathlib import Path

import numpy as np

from posebridge.data.datasets.depth_hands import DepthRecord
from posebridge.data.datasets.found_files import visible_files
from posebridge.data.datasets.hand_joints import joint_rows, read_lines
from posebridge.data.natural_order import natural_key
from posebridge.errors import InputError

_SUFFIXES = frozenset({".png"})


class ListedFrames:
    """PNG files below a folder: those of the lists in their order, then all others in natural order, 9 before 10.

    ``names`` are paths below the folder; ``rows`` their numbers in the list, from 0.
    """

    def __init__(self, folder: Path, lists: list[Path], skipped: dict[str, str]):
        """``lists`` that are missing are no error. Listed frames without a file go to ``skipped``.

        Raises ``InputError`` where the folder is missing or holds no PNG.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the root of the unpacked release")
        self.folder = folder
        self.lists = [path for path in lists if path.is_file()]
        files = {file.relative_to(folder).as_posix(): file for file in visible_files(folder, _SUFFIXES)}
        if not files:
            raise InputError(f"{folder}: no PNG file in it; give the root of the unpacked release")
        by_name = _by_bare_name(list(files))
        listed = [_path_of(line, files, by_name) for path in self.lists for line in read_lines(path)]
        for name in listed:
            if name not in files:
                skipped[str(folder / name)] = "the file is missing"
        others = sorted(set(files) - set(listed), key=natural_key)
        self.listed = {name: row for row, name in enumerate(listed)}
        row_of = self.listed | {name: row for row, name in enumerate(others, start=len(listed))}
        self.names = [name for name in self.listed if name in files] + others
        self.rows = [row_of[name] for name in self.names]
        self.count = len(listed) + len(others)

    def keep(self, kept: list[bool]) -> None:
        """Leave out the other frames; rows stay those of the release's list."""
        self.names = [name for name, keep in zip(self.names, kept, strict=True) if keep]
        self.rows = [row for row, keep in zip(self.rows, kept, strict=True) if keep]

    def record(self, index: int) -> DepthRecord:
        """Where the frame lies, and its names: key and sequence from its path below the folder, frame its row."""
        name, row = Path(self.names[index]), self.rows[index]
        key, sequence = name.with_suffix("").as_posix(), name.parent.as_posix()
        return DepthRecord(self.folder / name, key, sequence, frame=row, row=row)

    def read_joints(self, joints: int, skipped: dict[str, str]) -> np.ndarray:
        """(count, joints, 3) by row, as the lists have them; NaN for frames outside the lists and for broken lines."""
        if not self.lists:
            raise InputError(f"{self.folder}: no list of joints is beside it; frames can be used without it")
        table = np.full((self.count, joints, 3), np.nan, dtype=np.float32)
        start = 0
        for path in self.lists:
            texts = [" ".join(line.split()[1:]) for line in read_lines(path)]
            table[start : start + len(texts)] = joint_rows(path, texts, joints, skipped)
            start += len(texts)
        return table


def _by_bare_name(names: list[str]) -> dict[str, str]:
    """Paths by their last part, where that is unique."""
    bare = [name.rsplit("/", 1)[-1] for name in names]
    return dict(zip(bare, names, strict=True)) if len(set(bare)) == len(bare) else {}


def _path_of(line: str, files: dict[str, Path], by_name: dict[str, str]) -> str:
    name = line.split(maxsplit=1)[0].replace("\\", "/")
    return name if name in files else by_name.get(name, name)
