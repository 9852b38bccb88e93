"""Rows of what was drawn for a batch: a video repeats one subject, a set of views shows one hand."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from jaxtyping import Int
from torch import Tensor

DrawnT = TypeVar("DrawnT")


def take_rows(drawn: DrawnT, index: Int[Tensor, "n"]) -> DrawnT:
    """The samples at the given positions, of a tensor (B, ...) or of a dataclass of such tensors, however nested."""
    value: Any = drawn
    if isinstance(value, Tensor):
        return value.index_select(0, index)  # pyright: ignore[reportReturnType]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: take_rows(getattr(value, f.name), index) for f in fields(value)})
    return drawn
