"""Docs agree with the code: mentioned files and names, the layers, the table of methods."""

import re
import tomllib
from pathlib import Path

import pytest

from posebridge.data.datasets.registry import DATASETS
from posebridge.methods.registry import METHODS, MethodEntry

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src/posebridge"
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
README = (ROOT / "README.md").read_text()


def section(page: str, title: str) -> str:
    """The text below a heading of the second level."""
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the tables in a text, without head and rule, links replaced by their text."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    table = [line for line in plain.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_layers():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    listed = section(ARCHITECTURE, "Layers").split("```")[1].strip().splitlines()
    assert [re.split(r" {4,}", line)[0] for line in listed] == [layer.replace("posebridge.", "") for layer in layers]


def test_packages():
    named = set(re.findall(r"`(\w+)(?:/|\.py)`", "".join(row[0] for row in rows(section(ARCHITECTURE, "Packages")))))
    assert named == {path.stem for path in SOURCES.iterdir() if not path.name.startswith(("_", "py.typed"))}


@pytest.mark.parametrize("row", rows(section(ARCHITECTURE, "Where to find")), ids=lambda row: row[0])
def test_where_to_find(row):
    """Every file exists, and each name after a file is in it or in one mentioned before."""
    named = re.findall(r"`([\w/]+/(?:\w+\.py)?|[A-Za-z_.]+)`", row[1])
    assert named
    text = ""
    for name in named:
        if "/" not in name:
            assert re.search(rf"\b{name.split('.')[-1]}\b", text), name
        elif name.endswith(".py"):
            text += (SOURCES / name).read_text()
        else:
            assert (SOURCES / name).is_dir()


def test_core_types():
    file = ""
    for types, named, _ in rows(section(ARCHITECTURE, "Core types")):
        file = named or file
        found = re.findall(r"`([\w/]+\.py)`", file)
        paths = [SOURCES / found[0], *(SOURCES / path for path in found[1:])]
        folder = paths[0].parent
        text = "".join((path if path.exists() else folder / path.name).read_text() for path in paths)
        for name in re.findall(r"`(\w+)`", types):
            assert f"class {name}" in text, name


def takes(entry: MethodEntry) -> str:
    return f"{' or '.join(entry.sensors)}: {entry.needs}"


def test_methods_in_readme():
    expected = [[f"`{entry.name}`", entry.title, entry.paper, takes(entry)] for entry in METHODS.values()]
    assert rows(section(README, "Methods")) == expected


def test_number_of_readers():
    own = [name for name, entry in DATASETS.items() if entry.subject is None or name.startswith("rendered")]
    public = DATASETS.keys() - own
    assert f"readers of {len(public)} public datasets" in README


def test_files_exist():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    folders = (ROOT, ROOT / "src", SOURCES, SOURCES / "experiments")
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", page.read_text())
        if not any((folder / name).exists() for folder in folders)
    ]
    assert not missing
