"""SemiHand from end to end: SynthShift, a user's images, and rows of the dissertation."""

import pytest

from experiments.small_runs import ONE_CPU, shrink
from posebridge.contracts.record import Record
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import POSE
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.methods.semihand.settings import SETTINGS
from posebridge.presets.preset import Change

METHOD = "semihand"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def setting(name: str) -> Change:
    def change(preset):
        return preset.with_config(METHOD, SETTINGS[name](preset.config_of(METHOD)))

    return change


def stages_of(folder) -> set[str]:
    return {path.name.partition("-")[2] for path in (folder / "stages").iterdir()}


def numbers_of(record: Record) -> dict[str, float]:
    return {number.label: number.value for section in record.sections for number in section.numbers}


def test_synthshift(tmp_path):
    """All stages; a finished run is scored and reported again with the same numbers."""
    outcome = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert stages_of(tmp_path / "run") == {"source", "supervised-target", "pretraining", "circles", "adaptation"}
    assert load_model(tmp_path / "run").kind is POSE
    sections = {section.title: section for section in outcome.record.sections}
    assert {"Convergence of pseudo-labels", "Circles and masks", "Pseudo-labels"} <= set(sections)
    assert len(sections["Convergence of pseudo-labels"].picture_rows) == 6
    numbers = numbers_of(outcome.record)
    assert 0.3 < numbers["IoU of circles and true masks, source"] < 1
    assert 0 <= numbers["mask IoU, target, after adaptation"] <= 1
    assert 0 <= numbers["accepted frames, last iteration"] <= 100
    again = run_synthshift(SynthShiftConfig(method=METHOD), tmp_path / "run", ONE_CPU)
    assert again.scores["adapted"] == outcome.scores["adapted"]
    assert numbers_of(again.record) == pytest.approx(numbers, nan_ok=True)
