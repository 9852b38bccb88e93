"""A public dataset on disk with its options, and how a command's words name it. Imports neither numpy nor torch."""

import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tyro.constructors import PrimitiveConstructorSpec

from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.datasets.registry import DATASETS, dataset_named
from posebridge.errors import InputError

_WORDS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class DatasetRef:
    """A public dataset on disk."""

    name: str  # in data.datasets.registry; "": the one of the recipe
    path: Path
    options: DatasetOptions = field(default_factory=DatasetOptions)


def read_reference(words: list[str]) -> DatasetRef:
    """The dataset of ``[NAME=]PATH [OPTION=VALUE ...]``.

    Raises ``InputError`` for an unknown dataset, an unknown option, and a value that the option can't have.
    """
    if not words:
        raise InputError("a dataset is missing: give NAME=PATH")
    name, separator, path = words[0].partition("=")
    if not separator or "/" in name:
        name, path = "", words[0]
    if name:
        dataset_named(name)
    return DatasetRef(name, Path(path), DatasetOptions(**dict(_read_option(word) for word in words[1:])))


def _read_option(word: str) -> tuple[str, Any]:
    name, separator, text = word.partition("=")
    hints = typing.get_type_hints(DatasetOptions)
    if name not in hints:
        raise InputError(f"there is no dataset option {name!r}: choose {', '.join(hints)}")
    if not separator:
        raise InputError(f"dataset option {name} has no value: give {name}=VALUE")
    kinds = _alternatives(hints[name])
    for kind in kinds:
        try:
            return name, _read_value(kind, text)
        except ValueError:
            continue
    raise InputError(f"dataset option {name} can't be {text!r}: give {' or '.join(map(_describe, kinds))}")


def _alternatives(hint: Any) -> list[Any]:
    """The types of a union without None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _alternatives(part)]
    return [] if hint is type(None) else [hint]


def _read_value(kind: Any, text: str) -> Any:
    """The text as a value of that type. Raises ``ValueError`` where it is none."""
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise ValueError(text)
        return text
    if typing.get_origin(kind) is tuple:
        return tuple(typing.get_args(kind)[0](part) for part in text.split(","))
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    return kind(text)


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "numbers with commas between them, such as 1,2"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a path")


def _words_of(reference: DatasetRef | None) -> list[str]:
    return ["renders"] if reference is None else [f"{reference.name}={reference.path}"]


# One flag for a dataset, its folder and its options.
REFERENCE = PrimitiveConstructorSpec(
    nargs="*",
    metavar="[NAME=]PATH [OPTION=VALUE ...]",
    instance_from_str=read_reference,
    is_instance=lambda value: value is None or isinstance(value, DatasetRef),
    str_from_instance=_words_of,
)


def describe_datasets() -> str:
    """The names of all datasets, for help texts."""
    by_sensor = {
        sensor: ", ".join(dataset.name for dataset in DATASETS.values() if dataset.sensor == sensor)
        for sensor in ("colour", "depth")
    }
    return f"{by_sensor['colour']}; of depth: {by_sensor['depth']}"
