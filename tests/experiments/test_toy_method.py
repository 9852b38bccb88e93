"""A method is added by its package, one entry in the table of methods, and presets; nothing else changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments import toy_method
from experiments.small_runs import CPU_FLAGS, ONE_CPU
from experiments.toy_method import ENTRY, ToyConfig
from experiments.transfer_sets import config_of
from posebridge.cli.main import main
from posebridge.contracts.record import Record
from posebridge.contracts.record_file import load_record
from posebridge.deployment.model_file import load_model
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.train import run_train
from posebridge.methods.registry import METHODS, find_method
from posebridge.presets import table
from posebridge.presets.table import find_preset
from report.find_sections import section_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def registered(small_sizes, monkeypatch) -> None:
    """The entry, and a preset in three families."""
    monkeypatch.setitem(METHODS, ENTRY.name, ENTRY)
    own = []
    for family in ("synthshift/hand-rgb", "adapt/hand", "datasets/hand-rgb"):
        small = find_preset(family, "small", "mean-teacher")
        bound = {"supervised-target": small.methods["supervised-target"]} if family.startswith("synthshift") else {}
        own.append(replace(small, methods={ENTRY.name: ToyConfig(), **bound}))
    monkeypatch.setattr(table, "PRESETS", [*table.PRESETS, *own])


def check(record: Record, folder: Path) -> None:
    """The stage, the model, and the section in record and report."""
    (curves,) = (curves for stage, curves in record.curves.items() if stage.endswith("-consistency"))
    assert curves["consistency"][-1][0] == 4
    assert set(record.scores) >= {"source_only", "adapted"}
    assert load_model(folder).spec.method == record.method == "toy-consistency"
    section = section_of(load_record(folder), "Toy consistency")
    assert section.numbers[0].value == pytest.approx(section_of(record, "Toy consistency").numbers[0].value)
    assert len(section.group_charts[0].groups) == 21
    assert section.picture_rows[0].pictures[0].pose("predicted").shape == (21, 2)
    page = (folder / "report.html").read_text()
    assert all(text in page for text in ("Toy consistency", "mean change", "Change by joint", "a target frame"))


def test_package_is_short():
    assert len(Path(toy_method.__file__).read_text().splitlines()) <= 80


def test_synthshift(tmp_path):
    outcome = run_synthshift(SynthShiftConfig(method="toy-consistency"), tmp_path, ONE_CPU)
    check(outcome.record, tmp_path)
    assert {"adapted", "supervised_target", "gap_closed"} <= outcome.row().keys()


def test_adapt_command(target, tmp_path, capsys):
    typed = ["adapt", "toy-consistency", str(target.images), "--source", "renders", "--truth", str(target.truth)]
    assert main([*typed, "--domain", "studio", "--out", str(tmp_path), *CPU_FLAGS]) == 0
    check(load_record(tmp_path), tmp_path)
    assert "Report: " in capsys.readouterr().out


def test_train(datasets, tmp_path):
    check(run_train(config_of(datasets, "rhd-to-h3d", "toy-consistency"), tmp_path, ONE_CPU).record, tmp_path)


def test_refusals_name_it():
    with pytest.raises(InputError, match=r"choose .*toy-consistency"):
        find_method("magic")
    with pytest.raises(InputError, match="preset full of adapt/hand has no method toy-consistency"):
        find_preset("adapt/hand", "full", "toy-consistency")
