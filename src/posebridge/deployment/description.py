"""``model.json``: what a model is, as a typed config. Reading it runs nothing."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from posebridge.contracts.files import write_atomically
from posebridge.contracts.plain import from_plain
from posebridge.errors import InputError

FORMAT = 1
DESCRIPTION, WEIGHTS = "model.json", "model.safetensors"
Kind = Literal["pose", "depth-hand"]  # a network of colour or depth crops, or one of depth with a hand model
ConfigT = TypeVar("ConfigT")


def write_description(folder: Path, kind: Kind, spec: Any) -> None:
    """Write a spec, a dataclass of numbers, texts and others like it."""
    content = {"format": FORMAT, "kind": kind, **_offline(dataclasses.asdict(spec))}
    write_atomically(folder / DESCRIPTION, json.dumps(content, indent=1).encode())


def read_description(path: Path, kind: Kind, spec: type[ConfigT]) -> tuple[Path, ConfigT]:
    """The folder and the spec of a run's folder, or of a ``model.safetensors`` or ``model.json``.

    Weights come from the file beside it: nothing is fetched because a description says so.
    Raises ``InputError`` for a missing or broken description, and for a model of another kind.
    """
    folder = model_folder(path)
    described = folder / DESCRIPTION
    try:
        content = _content(described)
        found = content.pop("kind", "pose")
        if found != kind:
            raise InputError(f"{described} describes a model of kind {found}, and one of kind {kind} is needed here")
        return folder, from_plain(spec, _offline(content))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{described} doesn't describe a model ({error}): train it again or restore it") from error


def kind_of_model(path: Path) -> str:
    """The kind that a model's description names. Raises ``InputError`` where there is no readable description."""
    described = model_folder(path) / DESCRIPTION
    try:
        return str(_content(described).get("kind", "pose"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{described} doesn't describe a model ({error}): train it again or restore it") from error


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


def _content(described: Path) -> dict[str, Any]:
    content = json.loads(described.read_text(encoding="utf-8"))
    if content.pop("format") != FORMAT:
        raise InputError(f"{described} was written by another version of posebridge (format {FORMAT} is known)")
    return content


def _offline(value: Any) -> Any:
    """The same content without a word on where an encoder once started."""
    if not isinstance(value, dict):
        return value
    return {name: "none" if name == "pretrained" else _offline(item) for name, item in value.items()}
