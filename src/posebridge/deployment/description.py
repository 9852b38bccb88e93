"""``model.json``: the kind and the typed config of a model. Reading it runs nothing."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from posebridge.contracts.files import json_bytes, write_atomically
from posebridge.contracts.plain import from_plain
from posebridge.errors import InputError
from posebridge.regular_files import read_file
from posebridge.text_files import parse_json

FORMAT = 2
DESCRIPTION, WEIGHTS = "model.json", "model.safetensors"
ConfigT = TypeVar("ConfigT")

_LARGEST = 10_000  # of widths, counts, and lengths
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError)


@dataclass(frozen=True)
class Description:
    """What a ``model.json`` holds."""

    folder: Path  # where it lies, with the weights beside it
    kind: str  # a name in the table of kinds
    content: dict[str, Any]  # fields of the kind's spec


def write_description(folder: Path, kind: str, spec: Any) -> None:
    """Write a spec, a dataclass of numbers, texts and nested dataclasses. ``InputError`` where the disk refuses."""
    content = {"format": FORMAT, "kind": kind, **_without_origin(dataclasses.asdict(spec))}
    write_atomically(folder / DESCRIPTION, json_bytes(content))


def read_description(path: Path) -> Description:
    """The description of a run's folder, or of a ``model.safetensors`` or ``model.json``.

    Raises ``InputError`` for a missing or broken description, and for one of another version of posebridge.
    """
    folder = model_folder(path)
    described = folder / DESCRIPTION
    try:
        content = parse_json(read_file(described))
        found = content.pop("format")
        if found == FORMAT:
            return Description(folder, str(content.pop("kind")), _without_origin(content))
    except _MALFORMED as error:
        raise InputError(f"{described} doesn't describe a model ({error}): train it again or restore it") from error
    raise InputError(
        f"{described} was written by another version of posebridge (format {found}, this one reads {FORMAT}): "
        "train the model again"
    )


def typed_config(kind: type[ConfigT], content: dict[str, Any]) -> ConfigT:
    """A config from JSON, nested ones included. Raises ``InputError`` for content that isn't one.

    Its numbers are sizes and lengths: all are finite and above zero.
    """
    try:
        config = from_plain(kind, content)
        if name := _impossible_number(config):
            raise ValueError(f"{name} is impossible")
        return config
    except _MALFORMED as error:
        raise InputError(f"it doesn't describe a model ({error}): train it again or restore it") from error


def _impossible_number(config: Any, prefix: str = "") -> str | None:
    """The first number of a config that is no size or length, with its value."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            if found := _impossible_number(value, f"{name}."):
                return found
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 < value <= _LARGEST:
            return f"{name} {value}"
    return None


def model_folder(path: Path) -> Path:
    """Where ``model.json`` lies. Raises ``InputError`` where there is none, and for another file than a model's."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a finished run or the folder of a model")
    if path.is_file() and path.name not in (WEIGHTS, DESCRIPTION):
        raise InputError(f"{path} is no model: give a finished run, its model.safetensors, or the folder of a model")
    folder = path if path.is_dir() else path.parent
    if not (folder / DESCRIPTION).is_file():
        raise InputError(f"{folder} holds no model.json: give a finished run or the folder of a model")
    return folder


def _without_origin(value: Any) -> Any:
    """The same content without the place where an encoder's first weights came from: nothing is fetched from there."""
    if not isinstance(value, dict):
        return value
    return {name: "none" if name == "pretrained" else _without_origin(item) for name, item in value.items()}
