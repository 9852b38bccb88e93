"""Dataclasses as plain dictionaries, lists, numbers and texts, and back. Runs nothing that a file holds."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound="DataclassInstance")
Readers = Mapping[Any, Callable[[Any], Any]]

_NOT_FINITE = ("nan", "inf", "-inf")  # JSON has no such numbers, so that files hold these texts


def to_plain(value: Any) -> Any:
    """Dataclasses to dictionaries, paths to text, tuples to lists; everything else stays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(cls: type[T], values: Any, readers: Readers = types.MappingProxyType({})) -> T:
    """The inverse of ``to_plain`` for a dataclass, guided by its annotations.

    Args:
        cls: the dataclass to build.
        values: a mapping from its fields to plain values. Fields with a default may be absent.
        readers: for annotations that plain values can't express, what makes such a value of a plain one.

    Raises:
        ValueError: for a field that the class doesn't have, and for a value of another type than its field's.
        TypeError: for a field without default that is absent.
    """
    return _dataclass(cls, values, cls.__name__, "", readers)


def _dataclass(cls: Any, values: Any, name: str, prefix: str, readers: Readers) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is {values!r}, expected the fields of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := sorted(str(field) for field in values.keys() - known):
        raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}")
    return cls(**{field: _value(hints[field], item, prefix + field, readers) for field, item in values.items()})


def _value(hint: Any, value: Any, name: str, readers: Readers) -> Any:
    """``value`` as the annotated type ``hint``; ``name`` is its place, for errors."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in readers:
        return readers[hint](value)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, name, f"{name}.", readers)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, name, readers)
    if origin is typing.Literal:
        if not any(value == argument and type(value) is type(argument) for argument in arguments):
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, name, readers)
    if origin in (dict, Mapping):
        _expect(value, (Mapping,), name)
        key_kind, item_kind = arguments
        return {
            _value(key_kind, key, f"key of {name}", readers): _value(item_kind, item, f"{name}[{key!r}]", readers)
            for key, item in value.items()
        }
    return _scalar(hint, value, name)


def _union(kinds: tuple[Any, ...], value: Any, name: str, readers: Readers) -> Any:
    """The first of several types that fits."""
    if value is None and types.NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not types.NoneType]
    for kind in others[:-1]:
        try:
            return _value(kind, value, name, readers)
        except (TypeError, ValueError):
            continue
    return _value(others[-1], value, name, readers)


def _tuple(kinds: tuple[Any, ...], value: Any, name: str, readers: Readers) -> tuple[Any, ...]:
    _expect(value, (list, tuple), name)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    elif len(value) != len(kinds):
        raise ValueError(f"{name} has {len(value)} values, expected {len(kinds)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(_value(kind, item, f"{name}[{i}]", readers) for i, (kind, item) in enumerate(pairs))


def _scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float:
        if isinstance(value, str) and value in _NOT_FINITE:
            return float(value)
        _expect(value, (int, float), name)
        return float(value)
    if hint is Path:
        _expect(value, (str,), name)
        return Path(value)
    if hint is not Any and isinstance(hint, type):
        _expect(value, (hint,), name)
    return value


def _expect(value: Any, kinds: tuple[type, ...], name: str) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``kinds``; a bool is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{name} is {value!r}, expected {' or '.join(kind.__name__ for kind in kinds)}")


def with_absolute_paths(config: ConfigT) -> ConfigT:
    """The config with absolute paths, those of nested configs included."""
    values = {field.name: _absolute(getattr(config, field.name)) for field in dataclasses.fields(config)}
    return dataclasses.replace(config, **values)


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    return with_absolute_paths(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
