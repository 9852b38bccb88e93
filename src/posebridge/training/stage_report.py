"""``stage.json``: the report of a finished stage, with checksums of itself and of ``metrics.csv``."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.run_layout import StageLayout
from posebridge.errors import InputError
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json

_OWN, _METRICS = "sha256", "metrics_sha256"


@dataclass(frozen=True)
class StageReport:
    """Result of a finished stage, as ``stage.json`` holds it."""

    name: str
    seconds: float
    steps: int
    candidates: tuple[dict[str, float], ...] = ()
    chosen_step: int | None = None


def write_report(files: StageLayout, report: StageReport) -> None:
    """Write ``stage.json`` after the other files of the stage. Raises ``InputError`` where the disk refuses."""
    content = {**vars(report), _METRICS: _checksum(read_file(files.metrics)) if files.metrics.exists() else None}
    write_atomically(files.report, json_bytes({**content, _OWN: _json_checksum(content)}))


def read_report(files: StageLayout) -> StageReport:
    """The report of a finished stage.

    Raises ``InputError`` where it or ``metrics.csv`` is missing or damaged, or another version has written it.
    """
    report, expected = _read(files)
    try:
        found = None if expected is None else _checksum(read_file(files.metrics))
    except OSError as error:
        raise InputError(f"{files.metrics} can't be read ({error.strerror}): {train_again(files)}") from error
    if found != expected:
        raise InputError(f"{files.metrics} is damaged, its checksum differs: {train_again(files)}")
    return report


def _read(files: StageLayout) -> tuple[StageReport, str | None]:
    """The content of ``stage.json``, and the checksum of ``metrics.csv``; None for a stage without metrics."""
    try:
        content = parse_json(read_file(files.report))
        own = content.pop(_OWN, None)
        if own not in (None, _json_checksum(content)):
            raise ValueError("its checksum differs")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{files.report} is damaged ({type(error).__name__}): {train_again(files)}") from error
    try:
        if own is None:
            raise KeyError(_OWN)
        expected = content.pop(_METRICS)
        return StageReport(**{**content, "candidates": tuple(content["candidates"])}), expected
    except (KeyError, TypeError) as error:  # the checksum of other fields is right, or they have none
        raise InputError(
            f"{files.report} was written by another version of posebridge: start the run again with another --out, "
            f"or {train_again(files)}"
        ) from error


def train_again(files: StageLayout) -> str:
    """What to do about damaged files of a finished stage, for errors."""
    return f"delete {files.folder}, and the run trains this stage again"


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json_checksum(content: dict[str, Any]) -> str:
    return _checksum(json.dumps(content, sort_keys=True).encode())
