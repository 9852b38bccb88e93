"""The order in which people count: ``frame9`` before ``frame10``."""

import re
from pathlib import PurePath
from typing import Any


def natural_key(name: str) -> tuple[Any, ...]:
    """A key for sorting names in natural order: ``9.png`` before ``10.png``, ``01`` before ``1``."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)), name


def natural_path_key(path: PurePath) -> tuple[Any, ...]:
    """A key for sorting paths, folder by folder, each in natural order."""
    return tuple(natural_key(part) for part in path.parts)
