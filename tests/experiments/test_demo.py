"""The demo ends with its numbers, and a second call loads its finished stages."""

import json

import pytest

from experiments.small_runs import ONE_CPU, shrink
from posebridge.contracts.record_file import load_record
from posebridge.experiments.configs import DemoConfig
from posebridge.experiments.demo import run_demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield folder, json.loads(run_demo(DemoConfig(seed=3), folder, ONE_CPU))


def test_numbers_of_the_last_line(shown):
    folder, numbers = shown
    assert list(numbers) == ["source_only", "adapted", "supervised_target", "gap_closed", "minutes"]
    scores = load_record(folder).scores
    for role in ("source_only", "adapted", "supervised_target"):
        assert numbers[role] == pytest.approx(scores[role].pck_005, abs=1e-4)
    low, adapted, high = (scores[role].pck_005 for role in ("source_only", "adapted", "supervised_target"))
    if high > low:
        assert numbers["gap_closed"] == pytest.approx((adapted - low) / (high - low), abs=1e-3)
    else:
        assert numbers["gap_closed"] is None
    assert 0 < numbers["minutes"] < 2


def test_folder_is_a_run(shown):
    folder, _ = shown
    names = ("config.yaml", "environment.json", "model.safetensors", "model.json", "predictions.npz", "record.json")
    assert all((folder / name).is_file() for name in names)
    stages = sorted(stage.name for stage in (folder / "stages").iterdir())
    assert stages == ["1-source", "2-supervised-target", "3-mean-teacher"]
    assert "SynthShift" in (folder / "report.html").read_text()


def test_second_call_trains_nothing(shown, small_sizes):
    folder, numbers = shown
    files = [*(folder / "stages").glob("*/result.safetensors")]
    before = [file.stat().st_mtime_ns for file in files]
    (folder / "report.html").unlink()
    again = json.loads(run_demo(DemoConfig(seed=3), folder, ONE_CPU))
    assert [file.stat().st_mtime_ns for file in files] == before
    assert len(files) == 3
    del again["minutes"]
    assert again == {name: numbers[name] for name in again}
    assert (folder / "report.html").is_file()
