"""A run's record on disk: ``record.json`` for numbers and texts, ``record.npz`` for arrays."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.plain import from_plain, to_plain
from posebridge.contracts.record import Record
from posebridge.errors import InputError
from posebridge.npz_files import ArrayFileError, load_npz
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json

FORMAT = 2
JSON_NAME, ARRAYS_NAME = "record.json", "record.npz"


def save_record(record: Record, folder: Path) -> None:
    """Write a record into a run's folder, each file whole or not at all.

    Raises ``InputError`` for an unwritable folder or a full disk, ``TypeError`` for a config that JSON can't hold.
    """
    arrays: dict[str, np.ndarray] = {}
    content = {"format": FORMAT, **_without_arrays(to_plain(record), "", arrays)}
    text = json_bytes(content, allow_nan=False)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(folder / ARRAYS_NAME, buffer.getvalue())
    write_atomically(folder / JSON_NAME, text)


def load_record(folder: Path) -> Record:
    """Read the record of a run's folder; runs nothing that is in it.

    Raises ``InputError`` for a folder without a record, or one that is cut off or of another format.
    """
    path = folder / JSON_NAME
    try:
        content = parse_json(read_file(path))
    except OSError as error:
        raise InputError(f"{folder} holds no readable {JSON_NAME}: give the folder of a finished run") from error
    except ValueError as error:
        raise InputError(f"{path} is not readable as JSON (cut off, perhaps): run the command again") from error
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found in range(1, FORMAT):
        raise InputError(f"{path} was written by an earlier version of posebridge: run the command again")
    if found != FORMAT:
        raise InputError(f"{path} is not a record of format {FORMAT}: give the folder of a finished run")
    arrays = _read_arrays(folder / ARRAYS_NAME)
    try:
        return from_plain(Record, content, {np.ndarray: arrays.__getitem__})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a complete record ({error}): run the command again") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_npz(path)
    except (OSError, ArrayFileError) as error:
        raise InputError(f"{path} is missing or not readable (cut off, perhaps): run the command again") from error


def _without_arrays(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` as JSON can hold it. An array moves into ``arrays``; the name that it has there replaces it.

    Numbers that aren't finite become the texts that ``from_plain`` reads back.
    """
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return place
    if isinstance(value, Mapping):
        return {key: _without_arrays(item, f"{place}/{key}".lstrip("/"), arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_arrays(item, f"{place}/{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
