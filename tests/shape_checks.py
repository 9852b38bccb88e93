"""Checks annotated shapes and types of arrays while tests run, by jaxtyping's import hook.

Other annotations are checked by pyright.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_origin

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

PACKAGES = (
    "bodies",
    "cameras",
    "data",
    "deployment",
    "evaluation",
    "fitting",
    "geometry",
    "losses",
    "methods",
    "metrics",
    "networks",
    "rendering",
    "representations",
    "training",
)  # where public functions of tensors live


def install() -> None:
    """Install the hook, before any module of posebridge is imported."""
    install_import_hook(_modules(), "shape_checks.arrays_only")


def _modules() -> list[str]:
    """Modules with annotated arrays, except those with Warp kernels, which must not be decorated."""
    spec = find_spec("posebridge")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root, found = Path(spec.submodule_search_locations[0]), []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if "from jaxtyping import" in source and "import warp" not in source:
                found.append(".".join(("posebridge", *path.relative_to(root).with_suffix("").parts)))
    return found


def arrays_only(function: Callable) -> Callable:
    """The function with checks of its arguments and result that are arrays, and of no others."""
    hints = function.__annotations__
    arrays = {name: hint if _has_array(hint) else Any for name, hint in hints.items()}
    if all(hint is Any for hint in arrays.values()):
        return function
    function.__annotations__ = arrays
    return beartype(function)


def _has_array(hint: Any) -> bool:
    """Whether a hint contains an array type. Arguments of callables do not count, as nothing calls them here."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return get_origin(hint) is not Callable and any(_has_array(part) for part in get_args(hint))
