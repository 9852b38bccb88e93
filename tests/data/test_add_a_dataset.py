"""The example of docs/how-to/add-a-dataset.md runs without changes."""

import re
import sys
from pathlib import Path

import numpy as np

import posebridge.data.datasets
from data.on_disk import write_image

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/add-a-dataset.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_example(tmp_path, monkeypatch, capsys):
    for split in ("train", "test"):
        for number in range(5):
            write_image(tmp_path / "desk" / split / f"{number:06d}.png", 64, 48)
        np.save(tmp_path / "desk" / split / "pixels.npy", np.random.default_rng(0).uniform(5, 40, (5, 21, 2)))
    reader, *rest = blocks("python")
    (tmp_path / "desk_hands.py").write_text(reader)
    monkeypatch.setattr(posebridge.data.datasets, "__path__", [*posebridge.data.datasets.__path__, str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in rest:
        exec(block, names)
    sys.modules.pop("posebridge.data.datasets.desk_hands")
    (expected,) = blocks("text")
    assert capsys.readouterr().out == expected
    (command,) = blocks("bash")
    assert (PAGE.parents[2] / command.split()[3]).is_file()
