import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from posebridge.contracts.plain import from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    image: np.ndarray | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    kind: Literal["a", 1] = "a"
    weights: Mapping[str, float | None] = field(default_factory=dict)
    pair: tuple[int, str] = (1, "x")
    place: Path | None = None
    one_of: int | str = 3
    rest: Any = None


FULL = Outer("n", (Inner(math.inf), Inner(2.0)), 1, {"x": 2.0, "y": None}, (4, "z"), Path("a/b"), "text", {"k": [1]})


def test_values_survive_saving_and_loading():
    assert from_plain(Outer, to_plain(FULL)) == FULL
    assert from_plain(Outer, {"name": "n"}) == Outer("n")


def test_numbers_that_are_not_finite_are_read_from_texts():
    inner = from_plain(Outer, {"name": "n", "inner": [{"share": "nan"}, {"share": "-inf"}, {"share": 3}]}).inner
    assert math.isnan(inner[0].share)
    assert inner[1].share == -math.inf
    assert type(inner[2].share) is float


def test_readers_convert_values_of_their_types():
    found = from_plain(Inner, {"image": "place"}, {np.ndarray: lambda name: np.array([len(name)])})
    assert found.image.tolist() == [5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], r"Outer is \[1\], expected the fields of Outer"),
        ({"name": "n", "surplus": 1}, "Outer has no field surplus"),
        ({"name": 7}, "name is 7, expected str"),
        ({"name": "n", "inner": [{"share": "wide"}]}, r"inner\[0\].share is 'wide', expected int or float"),
        ({"name": "n", "inner": [{"share": True}]}, r"inner\[0\].share is True"),
        ({"name": "n", "inner": "ab"}, "inner is 'ab', expected list or tuple"),
        ({"name": "n", "inner": [{"image": "place"}]}, r"inner\[0\].image is 'place', expected ndarray"),
        ({"name": "n", "kind": True}, "kind is True, expected one of a, 1"),
        ({"name": "n", "weights": {"x": "heavy"}}, r"weights\['x'\] is 'heavy'"),
        ({"name": "n", "pair": [1]}, "pair has 1 values, expected 2"),
        ({"name": "n", "pair": [1.5, "x"]}, r"pair\[0\] is 1.5, expected int"),
        ({"name": "n", "place": 3}, "place is 3, expected str"),
        ({"name": "n", "one_of": 2.5}, "one_of is 2.5, expected str"),
    ],
)
def test_values_of_other_types_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_plain(Outer, values)


def test_fields_without_default_are_required():
    with pytest.raises(TypeError, match="name"):
        from_plain(Outer, {})
