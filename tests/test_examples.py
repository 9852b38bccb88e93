"""Runs the notebooks under ``examples/`` with presets that train in seconds."""

import ast
import json
from pathlib import Path

import pytest

from experiments.small_runs import shrink

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.usefixtures("one_thread")


def execute(notebook: Path) -> list[object]:
    """Run the code cells in one namespace. Returns the value of each cell's last expression."""
    shown: list[object] = []
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        if cell["cell_type"] == "code":
            *before, last = ast.parse("".join(cell["source"]), f"{notebook.name}[{number}]").body
            if not isinstance(last, ast.Expr):
                before, last = [*before, last], None
            exec(compile(ast.Module(before, []), notebook.name, "exec"), names)
            shown.append(last and eval(compile(ast.Expression(last.value), notebook.name, "eval"), names))
    return shown


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    shrink(monkeypatch)
    monkeypatch.chdir(tmp_path)


def test_all_are_tested():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == {"predict_and_adapt", "render_a_set"}


def test_predict_and_adapt(tmp_path):
    *_, scores, shapes, picture, numbers = execute(EXAMPLES / "predict_and_adapt.ipynb")
    assert [*scores] == ["source_only", "adapted"]
    assert shapes == ((1, 21, 2), (1, 21, 3), (1, 21))
    assert picture.width >= 96
    assert numbers[0] > 0
    folder = tmp_path / "runs" / "predict-and-adapt"
    assert (folder / "run" / "report.html").is_file()
    assert len([*(folder / "predicted" / "overlays").iterdir()]) == 4


def test_render_a_set():
    *_, shapes, picture, (count, sequences) = execute(EXAMPLES / "render_a_set.ipynb")
    assert [tuple(shape) for shape in shapes] == [(8, 3, 96, 96), (8, 21, 2), (8, 21, 3), (8, 96, 96)]
    assert picture.height == 2 * picture.width // 4
    assert count == 48
    assert len({*sequences}) == 2
