"""A run's record on disk: ``record.json`` for the numbers, ``record.npz`` for the pictures."""

import dataclasses
import io
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.contracts.files import BROKEN_ARCHIVE, write_atomically
from posebridge.contracts.record import Record
from posebridge.errors import InputError

FORMAT = 1
JSON_NAME, ARRAYS_NAME = "record.json", "record.npz"
_FRAME_ARRAYS = ("image", "uv_pred", "uv_truth")
_REDRAWING_ARRAYS = (
    *("base", "driving", "redrawn", "regions", "displacement_px", "inpainting"),
    *("uv_base", "uv_before", "uv_after", "uv_truth"),
)
_ARRAYS = {  # what lies in record.npz: field of the record -> (names there are prefix_name_index, arrays of an item)
    "gallery": ("", _FRAME_ARRAYS),
    "redrawings": ("redrawing_", _REDRAWING_ARRAYS),
    "depth_hands": ("depth_hand_", ("before", "after")),
}


def save_record(record: Record, folder: Path) -> None:
    """Write a record into a run's folder, each file whole or not at all.

    Raises ``InputError`` where the folder or the disk refuses, ``TypeError`` for a config that JSON can't hold.
    """
    numbers = asdict(record)
    arrays: dict[str, np.ndarray] = {}
    for field, (prefix, names) in _ARRAYS.items():
        for i, item in enumerate(numbers[field]):
            for name in names:
                if (array := item.pop(name)) is not None:
                    arrays[f"{prefix}{name}_{i}"] = array
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    text = json.dumps({"format": FORMAT, **_without_nan(numbers)}, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / ARRAYS_NAME, buffer.getvalue())
    write_atomically(folder / JSON_NAME, text.encode())


def load_record(folder: Path) -> Record:
    """Read the record of a run's folder; runs nothing that is in it.

    Raises ``InputError`` for a folder without a record, or one that is cut off or of another format.
    """
    path = folder / JSON_NAME
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder} holds no readable {JSON_NAME}: give the folder of a finished run") from error
    except ValueError as error:
        raise InputError(f"{path} is not readable as JSON (cut off, perhaps): run the command again") from error
    if not isinstance(numbers, dict) or numbers.pop("format", None) != FORMAT:
        raise InputError(f"{path} is not a record of format {FORMAT}: it was written by something else")
    try:
        for i, frame in enumerate(numbers["gallery"]):
            frame.update(_frame_arrays(folder / ARRAYS_NAME, i))
        for field in ("redrawings", "depth_hands"):
            for i, item in enumerate(numbers.get(field, ())):
                item.update(_item_arrays(folder / ARRAYS_NAME, field, i))
        return _build(Record, numbers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a complete record ({error}): run the command again") from error


def _frame_arrays(path: Path, index: int) -> dict[str, np.ndarray]:
    frame = _item_arrays(path, "gallery", index)
    if frame["image"].ndim != 3 or frame["image"].shape[2] != 3 or frame["image"].dtype != np.uint8:
        raise ValueError(f"image {index} is {frame['image'].dtype} {frame['image'].shape}, not uint8 (H, W, 3)")
    return frame


def _item_arrays(path: Path, field: str, index: int) -> dict[str, np.ndarray]:
    prefix, names = _ARRAYS[field]
    places = {name: f"{prefix}{name}_{index}" for name in names}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[place] for name, place in places.items() if place in archive}
    except BROKEN_ARCHIVE as error:
        raise InputError(f"{path} is missing or not readable (cut off, perhaps): run the command again") from error


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they are written as the texts that ``float`` reads back."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _build(kind: Any, value: Any) -> Any:
    """``value``, read from JSON, as the annotated type: nested dataclasses, tuples, mappings, optional values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{value!r} is none of {arguments}")
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _build(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(item_kind, item) for item_kind, item in zip(kinds, value, strict=True))
    if origin is Mapping:
        return {_build(arguments[0], key): _build(arguments[1], item) for key, item in value.items()}
    if kind in (float, int, str):
        return kind(value)
    return value
