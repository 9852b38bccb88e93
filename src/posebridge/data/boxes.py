"""Boxes of the subject from a file, in pixels of its images."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posebridge.contracts.names import normal_name
from posebridge.data.frames import SIDES, Side
from posebridge.errors import InputError
from posebridge.regular_files import absence, read_file
from posebridge.text_files import parse_json

_LARGEST = 10  # larger side of a box over the larger side of its image; larger boxes are in another unit
_CSV_COLUMNS = ("key", "x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class SubjectBox:
    """A box (4,) x0 y0 x1 y1 in pixels and, where the file has the column, the hand in it."""

    xyxy: np.ndarray
    hand: Side | None = None


def box_problem(xyxy: np.ndarray, width_px: float, height_px: float) -> str | None:
    """The defect of a box (4,) x0 y0 x1 y1, or None for a valid one.

    It is not finite, empty, not larger than a pixel, entirely outside the image, or far larger than it.
    """
    if not np.isfinite(xyxy).all():
        return "is not finite"
    x0, y0, x1, y1 = xyxy.tolist()
    if x1 <= x0 or y1 <= y0:
        return "is empty: give x0 < x1 and y0 < y1"
    if max(x1 - x0, y1 - y0) <= 1:
        return "is not larger than a pixel: give pixels of the file, not fractions of the image"
    if x1 <= -0.5 or y1 <= -0.5 or x0 >= width_px - 0.5 or y0 >= height_px - 0.5:
        return f"lies outside the image, which is {width_px}x{height_px}"
    if max(x1 - x0, y1 - y0) > _LARGEST * max(width_px, height_px):
        return f"is more than {_LARGEST} times as large as the image, which is {width_px}x{height_px}"
    return None


class Boxes:
    """Boxes of a file: JSON ``{key: [x0, y0, x1, y1]}``, or CSV with the columns key,x0,y0,x1,y1 and perhaps hand."""

    def __init__(self, path: str | Path):
        """Raises ``InputError`` naming file and key for a file that is neither, a bad number or an empty box."""
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"boxes {self.path}: {absence(self.path)}")
        if self.path.suffix.lower() not in (".json", ".csv"):
            raise InputError(f"boxes {self.path}: give a .json or .csv file")
        read = _read_json if self.path.suffix.lower() == ".json" else _read_csv
        given = read(self.path)
        self.by_key = {normal_name(key): box for key, box in given.items()}
        if len(self.by_key) < len(given):
            raise InputError(f"boxes {self.path}: two keys differ in their form of Unicode only; give each key once")
        if not self.by_key:
            raise InputError(f"boxes {self.path}: the file holds no box")

    @property
    def has_hands(self) -> bool:
        """Whether some box names its hand."""
        return any(box.hand for box in self.by_key.values())

    def get(self, key: str, width_px: int, height_px: int) -> SubjectBox | None:
        """The box of an image of that size, None if the file has none.

        Raises ``InputError`` for a box entirely outside the image.
        """
        box = self.by_key.get(normal_name(key))
        if box is not None and (problem := box_problem(box.xyxy, width_px, height_px)):
            raise InputError(f"boxes {self.path}: the box {box.xyxy.tolist()} of {key} {problem}")
        return box


def _subject_box(path: Path, key: str, numbers: object, hand: object = None) -> SubjectBox:
    try:
        xyxy = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        xyxy = np.empty(0)
    if xyxy.shape != (4,):
        raise InputError(f"boxes {path}: the box {numbers} of {key} is not four numbers x0, y0, x1, y1")
    # The image isn't known here, so bounds are not checked.
    if problem := box_problem(xyxy, math.inf, math.inf):
        raise InputError(f"boxes {path}: the box {xyxy.tolist()} of {key} {problem}")
    if hand in (None, ""):
        return SubjectBox(xyxy)
    for side in SIDES:
        if hand == side:
            return SubjectBox(xyxy, side)
    raise InputError(f"boxes {path}: the hand {hand!r} of {key} is neither left nor right")


def _read_json(path: Path) -> dict[str, SubjectBox]:
    try:
        content = parse_json(read_file(path), unique_keys=True)
    except ValueError as error:
        raise InputError(f"boxes {path}: not JSON with a box for each key: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"boxes {path}: give an object {{key: [x0, y0, x1, y1]}}")
    return {key: _subject_box(path, key, numbers) for key, numbers in content.items()}


def _read_csv(path: Path) -> dict[str, SubjectBox]:
    boxes: dict[str, SubjectBox] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in _CSV_COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise InputError(
                    f"boxes {path}: its first line lacks {', '.join(missing)}; give key,x0,y0,x1,y1[,hand]"
                )
            for row in rows:
                if row["key"] in boxes:
                    raise InputError(f"boxes {path}: the key {row['key']} occurs twice")
                numbers = [row[column] for column in _CSV_COLUMNS[1:]]
                boxes[row["key"]] = _subject_box(path, row["key"], numbers, row.get("hand"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"boxes {path}: not CSV text: {error}") from None
    return boxes
