"""Which weights each term of RegDA trains, its wrong joints, and its gain on dots."""

from dataclasses import replace

import pytest
import torch

from posebridge.draw import generator_for
from posebridge.methods.regda.adaptation import Adaptation, _other_joints
from posebridge.methods.regda.config import RegDAConfig
from posebridge.methods.regda.method import RegDA
from posebridge.representations.heatmaps import encode_gaussian
from posebridge.training.run import Run
from posebridge.training.source_training import SourceTrainingConfig
from training.dots import (
    ONE_CPU,
    PLAIN,
    SCHEDULE,
    VIEWS,
    all_stages,
    context,
    disturb,
    dots,
    finished,
    interrupt,
    small_network,
    with_trainer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = RegDAConfig(
    schedule=SCHEDULE, batch_size=4, geometry=VIEWS, appearance=PLAIN, head_channels=8, rise_steps=0, most_gradient=1.0
)


def adaptation(**changes) -> Adaptation:
    return with_trainer(Adaptation(replace(CONFIG, **changes), context(), small_network()))


def gradients(stage: Adaptation, term: str) -> dict[str, float]:
    """Sum of absolute gradients of one term, of encoder and decoder, pose head, and adversarial head."""
    stage.zero_grad()
    batches = {"source": dots(8, seed=11), "target": dots(8, seed=12).unlabelled()}
    stage.terms(batches, generator_for(0, 1))[term].backward()
    parts: dict[str, float] = {"features": 0.0, "pose head": 0.0, "adversary": 0.0}
    for name, parameter in stage.named_parameters():
        part = "adversary" if name.startswith("adversary") else "pose head" if ".head." in name else "features"
        parts[part] += 0.0 if parameter.grad is None else parameter.grad.abs().sum().item()
    return parts


@pytest.mark.parametrize(
    ("term", "trained"),
    [
        ("heat", {"features", "pose head"}),
        ("adversary", {"features", "adversary"}),
        ("largest_disparity", {"adversary"}),
        ("disparity", {"features"}),
    ],
)
def test_each_term_trains_its_weights_alone(term, trained):
    found = gradients(adaptation(), term)
    assert {part for part, size in found.items() if size > 0} == trained


def test_gradients_from_the_adversarial_head_rise_from_nothing():
    stage = adaptation(rise_steps=10)
    assert gradients(stage, "disparity")["features"] == 0
    whole = gradients(adaptation(), "disparity")["features"]
    tenth = gradients(adaptation(most_gradient=0.1), "disparity")["features"]
    assert tenth == pytest.approx(0.1 * whole, rel=1e-4)


def test_wrong_joints_are_all_others():
    uv_map = torch.tensor([[[3.0, 3.0], [10.0, 4.0], [5.0, 12.0]]])
    wrong = _other_joints(uv_map, (16, 16), sigma=1.0)
    assert torch.allclose(wrong.sum((-2, -1)), torch.ones(1, 3))
    gaussians, _ = encode_gaussian(uv_map, 16, 16, 1.0, "sum")
    expected = (gaussians[:, [1, 0, 0]] + gaussians[:, [2, 2, 1]]) / 2
    assert torch.allclose(wrong, expected, atol=1e-3)


def test_a_joint_alone_has_no_wrong_place():
    assert not _other_joints(torch.tensor([[[3.0, 3.0]]]), (8, 8), 1.0).any()


def test_the_frozen_head_keeps_its_statistics():
    stage = adaptation()
    before = {name: value.clone() for name, value in stage.adversary.named_buffers()}
    features = torch.randn(4, 8, 4, 4)
    frozen = stage._frozen_adversary(features)
    assert all(torch.equal(value, before[name]) for name, value in stage.adversary.named_buffers())
    assert torch.equal(frozen, stage._adversary(features))


def test_resuming_is_bit_exact(tmp_path):
    config = replace(CONFIG, schedule=replace(SCHEDULE, optimiser="sgd", learning_rate=0.01), rise_steps=8)
    _, whole = finished(tmp_path / "whole", Adaptation(config, context(), small_network()))
    stage = Adaptation(config, context(), small_network())
    disturb(stage, {5: interrupt})
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "two", ONE_CPU).train(1, stage)
    _, resumed = finished(tmp_path / "two", Adaptation(config, context(), small_network()))
    assert resumed == whole


def test_adaptation_follows_the_source_model(tmp_path):
    source = SourceTrainingConfig(schedule=SCHEDULE, batch_size=4, geometry=VIEWS)
    run, names = Run(tmp_path, ONE_CPU), []
    for number, (stage, selection) in enumerate(all_stages(RegDA(CONFIG), source, context())):
        run.train(number + 1, stage, selection)
        names.append(stage.name)
    assert names == ["source", "regda"]
