import pytest
import torch

from posebridge.draw import generator_for
from training.dots import ONE_CPU, adaptation_stage, context, finished, source_stage, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def terms_of(stage, number: int) -> dict[str, float]:
    """The terms of a step, for a network that is the same for every step."""
    item = number, {name: stream.batch(0) for name, stream in stage.streams.items()}
    stage.training_step(item, 0)
    return {name: value.item() for name, value in stage.latest.items()}


@pytest.mark.parametrize("make", [source_stage, adaptation_stage])
def test_draws_depend_on_the_seed_and_the_number_of_the_step(make):
    first = terms_of(with_trainer(make(context(seed=1))), 3)
    torch.rand(5)  # the global generator has no effect
    assert terms_of(with_trainer(make(context(seed=1))), 3) == first
    assert terms_of(with_trainer(make(context(seed=1))), 4) != first
    assert terms_of(with_trainer(make(context(seed=2))), 3) != first


def test_stages_of_one_run_draw_differently():
    assert source_stage(context()).seed != adaptation_stage(context()).seed


@pytest.mark.parametrize("weights", [{"heat": 1.0}, {"heat": 1.0, "depth": 1.0, "more": 1.0}])
def test_terms_and_weights_must_match(weights, tmp_path):
    stage = source_stage(context())
    stage.term_weights = weights
    with pytest.raises(ValueError, match="must match"):
        finished(tmp_path, stage)


def test_the_loss_is_the_weighted_sum():
    stage = with_trainer(adaptation_stage(context()))
    terms = terms_of(stage, 0)
    assert terms["loss"] == pytest.approx(sum(w * terms[name] for name, w in stage.term_weights.items()), rel=1e-5)


def test_losses_are_computed_in_full_precision(tmp_path):
    """With bf16 only the network is computed in bfloat16; losses get maps in float32, outside of autocast."""
    stage = source_stage(context())
    seen = []
    undisturbed = stage.terms

    def terms(batches, generator):
        seen.append(torch.is_autocast_enabled("cpu"))
        heat, _ = stage.predict_maps(stage.network, batches["source"].rgb)
        seen.append(heat.dtype)
        return undisturbed(batches, generator)

    stage.terms = terms
    finished(tmp_path, stage, hardware=type(ONE_CPU)(accelerator="cpu", precision="bf16"))
    assert set(seen) == {False, torch.float32}


def test_only_trained_parameters_change(tmp_path):
    stage = adaptation_stage(context(), average_decay=1.0)
    teacher = [parameter.detach().clone() for parameter in stage.teacher.parameters()]
    student = [parameter.detach().clone() for parameter in stage.student.parameters()]
    finished(tmp_path, stage)
    assert all(torch.equal(a, b) for a, b in zip(teacher, stage.teacher.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(student, stage.student.parameters(), strict=True))


def test_generators_of_steps_are_independent():
    draws = torch.stack([torch.rand(4, generator=generator_for(1, number)) for number in range(100)])
    assert len({tuple(row) for row in draws.tolist()}) == 100
    assert draws.mean().item() == pytest.approx(0.5, abs=0.06)
