"""The source stage: the average of its weights, and the encoder's learning rate."""

import pytest
import torch

from posebridge.training.run import Run
from training.dots import ONE_CPU, context, disturb, files_of, finished, interrupt, source_stage

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_result_is_the_average_of_all_steps(tmp_path):
    """While the decay is below its limit, step n keeps n / (n + 9) of the average."""
    stage = source_stage(context(), average_decay=0.999)
    seen = [[p.detach().clone() for p in stage.network.parameters()]]
    update = stage.optimizer_step

    def recorded(*args, **kwargs):
        update(*args, **kwargs)
        seen.append([p.detach().clone() for p in stage.network.parameters()])

    stage.optimizer_step = recorded
    finished(tmp_path, stage)
    assert len(seen) == 1 + stage.schedule.steps
    average = [value.double() for value in seen[0]]
    for number, weights in enumerate(seen[1:], 1):
        decay = number / (number + 9)
        average = [decay * old + (1 - decay) * new.double() for old, new in zip(average, weights, strict=True)]
    for found, expected in zip(stage.result().parameters(), average, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    for found, expected in zip(stage.result().buffers(), stage.network.buffers(), strict=True):
        assert torch.equal(found, expected)
    assert not stage.result().training


def test_without_a_decay_the_last_weights_are_the_result():
    stage = source_stage(context())
    assert stage.result() is stage.network


def test_a_slow_encoder_moves_by_its_fraction_of_the_rate(tmp_path):
    """Adam's first step moves every weight with a gradient by the rate."""
    moved = {}
    for rate in (1.0, 0.1):
        stage = source_stage(context(), encoder_rate=rate)
        stage.schedule = type(stage.schedule)(steps=1, learning_rate=1e-3, decay="none")
        before = {name: value.clone() for name, value in stage.network.named_parameters()}
        finished(tmp_path / str(rate), stage)
        moved[rate] = {name: (value - before[name]).abs().max() for name, value in stage.network.named_parameters()}
    for name, slow in moved[0.1].items():
        factor = 0.1 if name.startswith("encoder") else 1.0
        torch.testing.assert_close(slow, factor * moved[1.0][name], rtol=0.02, atol=1e-7)


def test_an_average_is_resumed(tmp_path):
    whole = finished(tmp_path / "whole", source_stage(context(), average_decay=0.9))[1]
    run, stage = Run(tmp_path / "parts", ONE_CPU), source_stage(context(), average_decay=0.9)
    disturb(stage, {5: interrupt})
    with pytest.raises(KeyboardInterrupt):
        run.train(1, stage)
    run.train(1, source_stage(context(), average_decay=0.9))
    assert files_of(run.layout.stage(1, "source").folder) == whole
