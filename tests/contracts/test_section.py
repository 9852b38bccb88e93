import re
from pathlib import Path

import numpy as np
import pytest

from posebridge.contracts.section import (
    GroupChart,
    Legend,
    LineChart,
    Number,
    Picture,
    PictureRow,
    PoseOverlay,
    Section,
    Table,
    TableRow,
)

IMAGE = np.zeros((8, 8, 3), np.uint8)
UV = np.zeros((21, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Section(" "), "a section has no title"),
        (lambda: Number("error", np.float32(1)), "number 'error' holds a float32, expected int or float"),
        (lambda: Number("error", True), "number 'error' holds a bool"),
        (lambda: TableRow("PCK", (0.5, "high")), "table row 'PCK' holds a str"),
        (lambda: Table(("a", "b"), (TableRow("PCK", (0.5,)),)), "table row 'PCK' has 1 values for 2 columns"),
        (lambda: LineChart("loss", "step", "", {}), "chart 'loss' has no points"),
        (lambda: LineChart("loss", "step", "", {"a": ()}), "chart 'loss' has no points"),
        (lambda: LineChart("loss", "step", "", {"a": ((float("nan"), 1.0),)}), "series 'a' of chart 'loss' has an x"),
        (lambda: LineChart("loss", "step", "", {"a": ((0, 1.0),)}, (1, 1)), "chart 'loss' has the range"),
        (lambda: GroupChart("PCK", "", (), {"a": ()}), "chart 'PCK' has no groups"),
        (lambda: GroupChart("PCK", "", ("all",), {"a": (1.0, 2.0)}), "has 2 values for 1 groups"),
        (lambda: GroupChart("PCK", "", ("all",), {"a": (1.0,)}, (1, 2)), "has 2 counts for 1 groups"),
        (lambda: Legend("ramp", "", np.zeros((4, 4), np.uint8)), "swatch of legend 'ramp' is uint8"),
        (lambda: Picture(IMAGE.astype(float), "base"), r"picture 'base' is float64 \(8, 8, 3\), expected uint8"),
        (lambda: Picture(IMAGE[:0], "base"), r"picture 'base' is uint8 \(0, 8, 3\)"),
        (lambda: PoseOverlay("truth", UV[:, :1]), r"truth pose is float64 \(21, 1\), expected floats \(J, 2\)"),
        (lambda: PoseOverlay("truth", UV.astype(int)), "truth pose is int64"),
        (lambda: Picture(IMAGE, "base", (PoseOverlay("truth", UV),) * 2), "more than one pose of a role"),
        (lambda: Picture(IMAGE, "base", (PoseOverlay("before", UV),)), "has a pose before and none after"),
        (lambda: PictureRow("frames", ()), "picture row 'frames' has no pictures"),
    ],
)
def test_invalid_parts_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_missing_values_are_allowed():
    nan = float("nan")
    TableRow("PCK", (None, nan))
    LineChart("loss", "step", "", {"a": ((0, nan), (1, float("inf"))), "b": ()})
    GroupChart("PCK", "", ("all",), {"a": (nan,)})
    Picture(IMAGE, "base", (PoseOverlay("predicted", np.full((21, 2), nan)),))


def test_the_example_of_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"masked": IMAGE, "decoded": IMAGE}
    exec(code.replace("\nSection(", "\nsection = Section("), names)
    section = names["section"]
    assert isinstance(section, Section)
    assert [picture.caption for picture in section.pictures] == ["Masked", "Reconstruction"]
