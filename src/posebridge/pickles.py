"""Safe reader for pickled annotations: no code of the pickle is executed.

Only numpy arrays and scalars of numbers and text, and Python's plain containers are allowed. A pickle that refers to
anything else is refused before the call. numpy's own unpickling does not check the dtype in the file, so that a
damaged file can crash the interpreter; arrays are therefore rebuilt here from their checked parts.
"""

import io
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posebridge.errors import InputError, one_line
from posebridge.regular_files import read_file

_CONTAINERS = ("set", "frozenset", "complex", "list", "dict", "tuple")
_ADMITTED = {
    *((module, name) for module in ("builtins", "__builtin__") for name in _CONTAINERS),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),  # how Python 3 writes bytes with protocol 2
}
# Exceptions that reading a damaged pickle may raise.
_DAMAGED_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


_DTYPE_NAME = re.compile(r"[<>=|]?[biufcSU]\d{1,9}")  # numbers and text


class _RefusedError(Exception):
    """The pickle refers to a class, function or dtype that is not allowed."""


class _Dtype:
    """Replacement for ``numpy.dtype`` while a pickle is read."""

    def __init__(self, name: str, _align: object = False, _copy: object = False):
        if not _DTYPE_NAME.fullmatch(str(name)):
            raise _RefusedError(f"arrays of {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        byte_order, subdtype, names, fields = state[1:5]
        if not (subdtype is names is fields is None):
            raise _RefusedError("arrays of records")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array:
    """Replacement for ``numpy.ndarray`` while a pickle is read."""

    def __init__(self):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, column_major, raw = state[-4:]
        self.value = _from_bytes(raw, dtype, shape, "F" if column_major else "C")


def _reconstruct(_subtype: object, _shape: object, _typecode: object) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, raw: bytes | str) -> np.generic:
    return _from_bytes(raw, dtype, (1,), "C")[0]


def _from_bytes(raw: bytes | str, dtype: _Dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    if isinstance(raw, str):  # bytes that Python 2 wrote
        raw = raw.encode("latin1")
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order).copy(order)


_NUMPY: dict[tuple[str, str], Callable[..., Any]] = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _from_bytes,  # protocol 5
}
_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    **{(f"numpy.{core}.{module}", name): f for core in ("core", "_core") for (module, name), f in _NUMPY.items()},
}


class OpaqueObject:
    """An object whose class is not imported; ``content`` holds its attributes by name.

    A state that is not a dictionary is stored under ``state``.
    """

    kind: str  # module and class name

    def __init__(self):
        self.content: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.content = state if isinstance(state, dict) else {"state": state}


def _reconstructor(kind: type, _base: object, _state: object) -> OpaqueObject:
    if not (isinstance(kind, type) and issubclass(kind, OpaqueObject)):
        raise _RefusedError("copyreg._reconstructor")
    return kind()


class _ArrayUnpickler(pickle._Unpickler):
    """Unpickler restricted to arrays and plain containers.

    Derived from the Python implementation: the C one allocates 8 bytes per possible memo index, so one damaged byte can
    allocate 30 GB.
    """

    def __init__(self, file: io.BytesIO, opaque_packages: tuple[str, ...]):
        super().__init__(file, encoding="latin1")
        self.opaque_packages = opaque_packages

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in self.opaque_packages:
            return type("UnloadedObject", (OpaqueObject,), {"kind": f"{module}.{name}"})
        if self.opaque_packages and (module, name) in _RECONSTRUCTION:
            return _RECONSTRUCTION[module, name]
        if stand_in := _STAND_INS.get((module, name)):
            return stand_in
        if (module, name) not in _ADMITTED:
            raise _RefusedError(f"{module}.{name}")
        return super().find_class(module, name)


# Old protocols create objects by these functions, without calling the class, and set the state afterwards.
_RECONSTRUCTION = {
    **{(module, "_reconstructor"): _reconstructor for module in ("copy_reg", "copyreg")},
    **{(module, "object"): object for module in ("builtins", "__builtin__")},
}


def _with_arrays(value: Any) -> Any:
    """Replace the stand-ins in ``value`` by arrays and dtypes."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        return value.value
    if isinstance(value, _Dtype):
        return value.dtype
    if isinstance(value, OpaqueObject):
        value.content = _with_arrays(value.content)
        return value
    if isinstance(value, dict):
        return type(value)((key, _with_arrays(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_with_arrays(item) for item in value)
    return value


def load_arrays(path: str | Path, opaque_packages: tuple[str, ...] = ()) -> Any:
    """Load a pickle of arrays and plain containers, written by Python 2 or 3 and numpy 1 or 2.

    Objects of the packages in ``opaque_packages`` come as ``OpaqueObject``; nothing of those packages is imported or
    called. Raises ``InputError`` for a missing or damaged file and for a pickle that refers to anything else.
    """
    path = Path(path)
    try:
        content = io.BytesIO(read_file(path))
        return _with_arrays(_ArrayUnpickler(content, opaque_packages).load())
    except _RefusedError as error:
        raise InputError(
            f"{path}: the pickle refers to {one_line(error)}, which is refused: give plain arrays of numbers"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except _DAMAGED_PICKLE_ERRORS as error:
        raise InputError(f"{path}: not a pickle that can be read: {one_line(error)}") from None
