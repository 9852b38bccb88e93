"""The example of docs/how-to/add-a-method.md runs without changes."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import posebridge.methods
from experiments.small_runs import ONE_CPU, shrunk, write_target
from posebridge.data.target import TargetConfig
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig
from posebridge.methods import registry
from posebridge.presets import adapt_rgb, table
from posebridge.presets.preset import Preset

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/add-a-method.md").read_text()
PRESETS = ROOT / "src/posebridge/presets"
NAME = "view-consistency"
PACKAGE = "posebridge.methods.view_consistency"
METHOD, ENTRY, IMPORT, CONFIG = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def _package(tmp_path, monkeypatch):
    """The package of the page, importable during the test."""
    folder = tmp_path / PACKAGE.split(".")[-1]
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "method.py").write_text(METHOD)
    monkeypatch.setattr(posebridge.methods, "__path__", [*posebridge.methods.__path__, str(tmp_path)])
    yield
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def edited_presets() -> tuple[Preset, ...]:
    """The presets of ``adapt_rgb.py`` after the edit described in the page."""
    before, methods, after = Path(adapt_rgb.__file__).read_text().partition("        methods={\n")
    assert "def _small(" in before
    assert "def _full(" not in before
    names: dict = {"__name__": adapt_rgb.__name__}
    exec(f"{IMPORT}{before}{methods}{CONFIG}{after}", names)
    return names["PRESETS"]


@pytest.mark.usefixtures("_package")
def test_example(tmp_path, monkeypatch):
    entry = eval(ENTRY, vars(registry))
    monkeypatch.setitem(registry.METHODS, NAME, entry)
    preset = next(preset for preset in edited_presets() if preset.family == "adapt/hand")
    config = preset.config_of(NAME)
    assert isinstance(config, entry.config_class())
    brief = replace(config, schedule=replace(config.schedule, steps=6), batch_size=8)
    monkeypatch.setattr(table, "PRESETS", [shrunk(preset).with_config(NAME, brief)])

    target = TargetConfig(write_target(tmp_path / "target").images)
    record = run_adapt(
        AdaptConfig(method=NAME, target=target, source="renders", domain="studio"), tmp_path / "run", ONE_CPU
    )

    assert record.method == NAME
    assert {*record.curves[f"2-{NAME}"]} >= {"heat", "depth", "consistency"}
    assert record.provenance.checkpoint is not None
    section = next(section for section in record.sections if section.title == "View consistency")
    assert 0 < section.numbers[0].value < 100
    assert "View consistency" in (tmp_path / "run/report.html").read_text()


def test_named_files():
    assert {*re.findall(r"`(\w+\.py)`", PAGE)} <= {path.name for path in PRESETS.glob("*.py")}
    for file in re.findall(r"`(src/\S+|contracts/\S+)`", PAGE):
        assert any((folder / file).exists() for folder in (ROOT, ROOT / "src/posebridge")), file
