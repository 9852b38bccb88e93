"""Steps of several batches: equal to a plain loop, and resumed in the middle of a step."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posebridge.draw import generator_for
from posebridge.networks.weights import read_weights
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run, SelectionPlan
from posebridge.training.source_training import SourceTraining
from posebridge.training.stage_report import StageReport
from training.dots import ONE_CPU, SCHEDULE, context, crash, files_of, source_stage, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS, ACCUMULATED = 4, 3


SHORT = replace(SCHEDULE, steps=STEPS)


def accumulating(schedule: Schedule = SHORT) -> SourceTraining:
    stage = source_stage(context(), schedule=schedule)
    stage.accumulated = ACCUMULATED
    return stage


def trained(folder: Path, stage: SourceTraining, selection: SelectionPlan | None = None) -> StageReport:
    return Run(folder, ONE_CPU).train(1, stage, selection)


def test_a_step_averages_the_gradients_of_its_batches(tmp_path):
    """Batch by batch as numbered, in PyTorch's own optimiser, with the rate of the step."""
    stage = accumulating(replace(SHORT, clip_norm=0.0))
    by_hand = with_trainer(accumulating())
    adam = torch.optim.AdamW(by_hand.network.parameters(), weight_decay=SHORT.weight_decay)
    for step in range(STEPS):
        for part in range(ACCUMULATED):
            number = step * ACCUMULATED + part
            batches = {name: stream.batch(number) for name, stream in by_hand.streams.items()}
            terms = by_hand.terms(batches, generator_for(by_hand.seed, number))
            loss = sum(by_hand.term_weights[name] * value for name, value in terms.items())
            (loss / ACCUMULATED).backward()
        adam.param_groups[0]["lr"] = SHORT.learning_rate * SHORT.rate_factor(step)
        adam.step()
        adam.zero_grad()
    trained(tmp_path, stage)
    for name, value in by_hand.network.state_dict().items():
        torch.testing.assert_close(stage.network.state_dict()[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batch", [3, 4, 5, 11])
def test_resuming_in_the_middle_of_a_step_is_bit_exact(tmp_path, batch):
    """The checkpoint after each batch holds the gradients of its step so far."""
    scored: list[int] = []
    selection = SelectionPlan(lambda network: float(scored.append(0) or len(scored)), evaluations=2)
    trained(tmp_path / "undisturbed", accumulating(), selection)
    calls, stage = len(scored), accumulating()
    numbers: list[int] = []
    undisturbed = stage.terms

    def terms(batches, generator):
        numbers.append(len(numbers))
        if numbers[-1] == batch:
            crash()
        return undisturbed(batches, generator)

    stage.terms = terms
    scored.clear()
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "cut", ONE_CPU, checkpoint_seconds=0).train(1, stage, selection)
    saved = torch.load(next((tmp_path / "cut").rglob("last.ckpt")), weights_only=True)
    assert saved["global_step"] == batch // ACCUMULATED
    assert ("partial" in saved) == (batch % ACCUMULATED > 0)

    rest = accumulating()
    remaining: list[float] = []
    inner = rest.terms
    rest.terms = lambda batches, generator: (remaining.append(math.nan), inner(batches, generator))[1]
    report = trained(tmp_path / "cut", rest, selection)
    assert len(remaining) == STEPS * ACCUMULATED - batch
    assert len(scored) == calls
    assert [candidate["step"] for candidate in report.candidates] == [0, 2, 4]
    one, other = (files_of(tmp_path / name / "stages/1-source") for name in ("cut", "undisturbed"))
    assert one == other
    assert other[1].count("\n") == 1 + STEPS


def test_accumulation_changes_the_result(tmp_path):
    trained(tmp_path / "many", accumulating())
    single = accumulating()
    single.accumulated = 1
    trained(tmp_path / "one", single)
    weights = [read_weights(tmp_path / name / "stages/1-source/result.safetensors") for name in ("many", "one")]
    assert any(not torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
