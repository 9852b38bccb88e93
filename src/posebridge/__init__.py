"""posebridge: pose estimators trained without one label from the place where they will be used.

The functions below are imported at their first use, so that ``import posebridge`` doesn't wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posebridge.api import load
    from posebridge.errors import InputError

__all__ = ["InputError", "load"]

_MODULES = {"InputError": "posebridge.errors", "load": "posebridge.api"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
