"""Frozen config dataclasses to YAML and back. Reading never executes anything from a file."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from posebridge.contracts.plain import from_plain, to_plain
from posebridge.errors import InputError
from posebridge.text_files import read_text


def as_yaml(kind: str, config: Any) -> str:
    """YAML text of a config under its kind, such as ``adapt``."""
    return yaml.safe_dump({kind: to_plain(config)}, sort_keys=False)


def configs_equal(text: str, kind: str, config: Any) -> bool:
    """Whether a file's text holds this config. Fields that the file lacks count as having their defaults."""
    if text == as_yaml(kind, config):
        return True
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
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
    """The kind and the config of a file. Raises ``InputError`` for another kind, and for fields that don't fit."""
    try:
        content = yaml.safe_load(read_text(path))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the folder of a run") from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} can't be read as YAML: {type(error).__name__}") from error
    if not isinstance(content, dict) or len(content) != 1 or next(iter(content)) not in kinds:
        raise InputError(f"{path} is not the config of a run: expected one of {', '.join(kinds)} at its top")
    kind, values = next(iter(content.items()))
    try:
        return kind, from_plain(kinds[kind], values)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        raise InputError(
            f"{path} doesn't fit this version of posebridge ({error}): start again with another --out"
        ) from error
