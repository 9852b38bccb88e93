"""A stage that is stopped in any way and resumed ends bit for bit like an undisturbed one."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posebridge.errors import TerminatedError
from posebridge.networks.weights import read_weights
from posebridge.training.run import Run, SelectionPlan
from posebridge.training.selection import BoneStatistics, agreement
from training.dots import (
    ONE_CPU,
    SKELETON,
    adaptation_stage,
    context,
    crash,
    disturb,
    dots,
    files_of,
    finished,
    interrupt,
    source_stage,
)

STAGES = {"source": source_stage, "adaptation": adaptation_stage}
STEPS = 12


pytestmark = pytest.mark.usefixtures("one_thread")


def selection() -> SelectionPlan:
    frames, truth = dots(8, seed=9, ground=0.3).unlabelled(), dots(30, seed=8).joints_m
    bones = BoneStatistics.of(truth, SKELETON)
    return SelectionPlan(lambda network: agreement(network, frames, SKELETON, bones), evaluations=4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Reports and files of undisturbed runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = {}
    for name, make in STAGES.items():
        for precision in ("32", "bf16"):
            folder = tmp_path_factory.mktemp(f"{name}-{precision}")
            hardware = replace(ONE_CPU, precision=precision)
            made[name, precision] = finished(folder, make(context()), selection(), hardware)
    torch.set_num_threads(threads)
    return made


def stopped(folder: Path, method: str, events, seconds: float, expected, precision: str = "32", chosen=True) -> int:
    """Train until the expected failure. Returns the step of ``last.ckpt``."""
    run = Run(folder, replace(ONE_CPU, precision=precision), checkpoint_seconds=seconds)
    stage = STAGES[method](context())
    disturb(stage, events)
    with pytest.raises(expected):
        run.train(1, stage, selection() if chosen else None)
    return saved_step(run.layout.stage(1, stage.name).folder)


def saved_step(folder: Path) -> int:
    return torch.load(folder / "last.ckpt", weights_only=True)["global_step"]


def resumed(folder: Path, method: str, first_step: int, precision: str = "32"):
    """Resume and train to the end, and check that no step is repeated."""
    stage = STAGES[method](context())
    begun = disturb(stage, {})
    outcome = finished(folder, stage, selection(), replace(ONE_CPU, precision=precision))
    assert begun == list(range(first_step, STEPS))
    return outcome


def assert_same(one, other):
    (report, files), (other_report, other_files) = one, other
    assert files == other_files
    assert report.candidates == other_report.candidates
    assert report.chosen_step == other_report.chosen_step
    assert report.steps == other_report.steps


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("method", STAGES)
def test_resuming_after_crashes_is_bit_exact(method, precision, tmp_path, undisturbed):
    # The second crash follows a candidate (step 6) that is in no checkpoint.
    assert stopped(tmp_path, method, {4: crash}, 0, RuntimeError, precision) == 4
    assert stopped(tmp_path, method, {7: crash}, math.inf, RuntimeError, precision) == 4
    (table,) = tmp_path.rglob("metrics.csv")
    assert len(table.read_text().splitlines()) == 1 + 7
    outcome = resumed(tmp_path, method, 4, precision)
    assert_same(outcome, undisturbed[method, precision])
    assert [c["step"] for c in outcome[0].candidates] == [0, 3, 6, 9, 12]


def test_precisions_give_different_results(undisturbed):
    assert undisturbed["source", "32"][1] != undisturbed["source", "bf16"][1]


def test_a_crash_before_the_first_checkpoint(tmp_path, undisturbed):
    stage = adaptation_stage(context())
    disturb(stage, {4: crash})
    with pytest.raises(RuntimeError):
        Run(tmp_path, ONE_CPU).train(1, stage, selection())
    assert not list(tmp_path.rglob("last.ckpt"))
    assert_same(resumed(tmp_path, "adaptation", 0), undisturbed["adaptation", "32"])


@pytest.mark.parametrize("method", STAGES)
def test_ctrl_c_saves_the_current_step(method, tmp_path, undisturbed):
    before = signal.getsignal(signal.SIGINT)
    assert stopped(tmp_path, method, {5: interrupt}, math.inf, KeyboardInterrupt) == 6
    assert signal.getsignal(signal.SIGINT) == before
    assert_same(resumed(tmp_path, method, 6), undisturbed[method, "32"])


def test_ctrl_c_at_the_last_step(tmp_path, undisturbed):
    assert stopped(tmp_path, "adaptation", {STEPS - 1: interrupt}, math.inf, KeyboardInterrupt) == STEPS
    assert_same(resumed(tmp_path, "adaptation", STEPS), undisturbed["adaptation", "32"])


def test_a_second_ctrl_c_stops_at_once(tmp_path, undisturbed):
    def twice():
        interrupt()
        interrupt()

    before = signal.getsignal(signal.SIGINT)
    assert stopped(tmp_path, "adaptation", {3: interrupt}, math.inf, KeyboardInterrupt) == 4
    assert stopped(tmp_path, "adaptation", {6: twice}, math.inf, KeyboardInterrupt) == 4
    assert signal.getsignal(signal.SIGINT) == before
    assert_same(resumed(tmp_path, "adaptation", 4), undisturbed["adaptation", "32"])


def test_a_terminated_job_saves_its_last_step(tmp_path, undisturbed):
    def terminate():
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert stopped(tmp_path, "adaptation", {6: terminate}, math.inf, TerminatedError) == 7
    assert TerminatedError().code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert_same(resumed(tmp_path, "adaptation", 7), undisturbed["adaptation", "32"])


def test_resuming_after_sigkill_is_bit_exact(tmp_path):
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    killed = -signal.SIGKILL
    assert json.loads(done.stdout) == {"killed_in_a_step": killed, "killed_in_a_write": killed}, done.stderr
    for name, make, saved in (("killed_in_a_step", source_stage, 7), ("killed_in_a_write", adaptation_stage, 3)):
        stage = make(context())
        assert saved_step(Run(tmp_path / name).layout.stage(1, stage.name).folder) == saved
        begun = disturb(stage, {})
        _, files = finished(tmp_path / name, stage)
        assert begun == list(range(saved, STEPS))
        assert files == finished(tmp_path / "whole" / name, make(context()))[1]


def test_a_finished_stage_is_loaded_not_trained(tmp_path):
    report, _ = finished(tmp_path, source_stage(context()), selection())
    stage = source_stage(context())
    begun = disturb(stage, {})
    again, _ = finished(tmp_path, stage, selection())
    assert again == report
    assert begun == []
    kept = read_weights(Run(tmp_path).layout.stage(1, "source").folder / "result.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in stage.result().state_dict().items())
    assert sorted(p.name for p in Run(tmp_path).layout.stage(1, "source").folder.iterdir()) == [
        "metrics.csv",
        "result.safetensors",
        "stage.json",
    ]


def test_files_of_two_seeds_differ(tmp_path):
    _, one = finished(tmp_path / "a", source_stage(context(seed=1)))
    _, other = finished(tmp_path / "b", source_stage(context(seed=2)))
    assert one != other
    assert files_of(tmp_path / "a" / "stages" / "1-source") == one
