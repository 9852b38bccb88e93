"""Frozen config dataclasses to YAML and back, without running anything that a file holds."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from posebridge.errors import InputError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dataclasses to dictionaries, paths to text, tuples to lists; numbers and text stay."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def as_yaml(kind: str, config: Any) -> str:
    """A config under the name of what it configures."""
    return yaml.safe_dump({kind: to_plain(config)}, sort_keys=False)


def configs_equal(text: str, kind: str, config: Any) -> bool:
    """Whether a file's text stands for this config; what a file of an earlier version lacks has its default."""
    if text == as_yaml(kind, config):
        return True
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    return isinstance(content, dict) and content.keys() == {kind} and _values_equal(content[kind], config)


def _values_equal(plain: Any, value: Any) -> bool:
    if not dataclasses.is_dataclass(value) or isinstance(value, type) or not isinstance(plain, dict):
        return plain == to_plain(value)
    known = {f.name: f for f in dataclasses.fields(value)}
    return plain.keys() <= known.keys() and all(
        _values_equal(plain[name], getattr(value, name)) if name in plain else getattr(value, name) == _default(f)
        for name, f in known.items()
    )


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def load_config(path: Path, kinds: dict[str, type]) -> tuple[str, Any]:
    """The kind and the config of a file. Raises ``InputError`` where it isn't one of ``kinds`` or doesn't fit."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the folder of a run") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} can't be read as YAML: {type(error).__name__}") from error
    if not isinstance(content, dict) or len(content) != 1 or next(iter(content)) not in kinds:
        raise InputError(f"{path} is not the config of a run: expected one of {', '.join(kinds)} at its top")
    kind, values = next(iter(content.items()))
    try:
        return kind, from_plain(kinds[kind], values)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path} doesn't fit this version of posebridge: {error}") from error


def from_plain(cls: type[T], values: Any) -> T:
    """The inverse of ``to_plain`` for a dataclass, guided by its annotations. ``ValueError`` for what doesn't fit."""
    if not isinstance(values, dict):
        raise ValueError(f"{cls.__name__} should be a mapping, found {type(values).__name__}")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(typing.cast(Any, cls))}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"{cls.__name__} has no field {', '.join(map(str, unknown))}")
    return cls(**{name: _build(hints[name], value) for name, value in values.items()})


def _build(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _build(next(a for a in arguments if a is not types.NoneType), value)
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), value)
    if origin is tuple:
        inner = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(a, item) for a, item in zip(inner, value, strict=True))
    if origin is dict:
        return {key: _build(arguments[1], item) for key, item in value.items()}
    if hint is Path:
        return Path(value)
    if origin is typing.Literal and value not in arguments:
        raise ValueError(f"{value!r} is none of {', '.join(map(str, arguments))}")
    if hint in (int, bool, str) and type(value) is not hint:
        raise ValueError(f"{value!r} should be of type {hint.__name__}")
    return float(value) if hint is float else value
