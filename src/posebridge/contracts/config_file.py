"""Frozen config dataclasses to YAML and back. Reading never executes anything from a file."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import yaml

from posebridge.contracts.plain import from_plain, to_plain
from posebridge.errors import InputError
from posebridge.regular_files import read_file

_SIGNATURE = "# sha256: "
_MALFORMED = (yaml.YAMLError, ValueError, RecursionError)  # ValueError: an impossible date, or thousands of digits


def as_yaml(kind: str, config: Any) -> str:
    """YAML text of a config under its kind, such as ``adapt``."""
    return yaml.safe_dump({kind: to_plain(config)}, sort_keys=False)


def signed(text: str) -> str:
    """YAML text with its checksum as a comment in the last line."""
    return f"{text}{_SIGNATURE}{_checksum(text)}\n"


def read_signed(path: Path) -> str:
    """The text of a YAML file, without its checksum. A file without one is taken as it is.

    Raises ``InputError`` for a file that can't be read, or whose checksum differs.
    """
    try:
        content = read_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the folder of a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as YAML: {type(error).__name__}") from error
    text, signature, checksum = content.rpartition(_SIGNATURE)
    if signature and checksum.strip() != _checksum(text):
        raise InputError(
            f"{path} is damaged, its checksum differs: restore it, or start again with another --out; "
            "delete its last line after a change by hand"
        )
    return text if signature else content


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def configs_equal(text: str, kind: str, config: Any) -> bool:
    """Whether a file's text holds this config. Fields that the file lacks count as having their defaults."""
    if text == as_yaml(kind, config):
        return True
    try:
        content = yaml.safe_load(text)
    except _MALFORMED:
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
    """The kind and the config of a file. Raises ``InputError`` for a damaged file or another kind."""
    try:
        content = yaml.safe_load(read_signed(path))
    except _MALFORMED as error:
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
