"""Selection of samples from nested dataclasses of batched tensors."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from jaxtyping import Int
from torch import Tensor

DrawnT = TypeVar("DrawnT")


def select_samples(drawn: DrawnT, index: Int[Tensor, "n"]) -> DrawnT:
    """The samples at ``index`` of a tensor (B, ...) or of a dataclass of such tensors, nested to any depth."""
    value: Any = drawn
    if isinstance(value, Tensor):
        value = value.index_select(0, index)
    elif is_dataclass(value) and not isinstance(value, type):
        rows: Any = {f.name: select_samples(getattr(value, f.name), index) for f in fields(value)}
        value = replace(value, **rows)
    return cast(DrawnT, value)
