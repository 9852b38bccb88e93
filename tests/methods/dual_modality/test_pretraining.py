"""Pretraining: terms of all branches, positive pairs, predicted depth, exact resumption."""

import math
from dataclasses import replace

import pytest
import torch

from methods.dual_modality.masked_hands import (
    CONFIG,
    PLAIN,
    PRETRAINING,
    context,
    first_terms,
    labelled,
    other_images,
    pretraining,
)
from methods.stick_hands import network
from posebridge.errors import InputError
from posebridge.methods.dual_modality.method import DualModality
from posebridge.methods.dual_modality.pretraining import PretrainingConfig
from posebridge.networks.dual_modality import BRANCHES
from posebridge.skeletons.hand import HAND21
from posebridge.training.multi_task import SurfaceDepth, labelled_terms
from posebridge.training.run import Run
from training.dots import ONE_CPU, crash, disturb, files_of

pytestmark = pytest.mark.usefixtures("one_thread")


def test_terms_are_sums_over_branches():
    """Against each branch by itself, in evaluation mode, where batch statistics don't matter."""
    stage = pretraining(replace(PRETRAINING, views=PLAIN, predicted_depth_frac=0.0))
    stage.eval()
    terms = first_terms(stage)
    batch = stage.streams["source"].batch(0)
    depth = SurfaceDepth.of(batch, HAND21).values
    alone = [stage.network(batch.rgb, depth, (branch,))[branch].maps for branch in BRANCHES]
    parts = [labelled_terms(stage.network.pose.maps, [maps], batch, HAND21, 50.0) for maps in alone]
    for name in ("pose", "heat", "mask", "depth_map"):
        assert terms[name].item() == pytest.approx(sum(part[name].item() for part in parts), rel=1e-4)
    assert terms.keys() == stage.term_weights.keys()


def eq_7_3(z: list[list[float]], z_plus: list[list[float]], tau: float) -> float:
    def sim(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    loss = 0.0
    for i in range(len(z)):
        below = sum(
            math.exp(sim(z[i], z[k]) / tau) + math.exp(sim(z[i], z_plus[k]) / tau) for k in range(len(z)) if k != i
        )
        loss -= math.log(math.exp(sim(z[i], z_plus[i]) / tau) / below)
    return loss


@pytest.mark.parametrize(
    ("pairs", "compared"),
    [
        (("rgb",), ["r r+"]),
        (("rgb", "depth"), ["r r+", "d d+"]),
        (("rgb", "depth", "rgb-depth"), ["r r+", "d d+", "r d"]),
        (("rgb", "depth", "fusion"), ["r r+", "d d+", "r f", "r+ f+"]),
    ],
)
def test_the_contrastive_term_against_loops_of_eq_7_3_to_7_5(pairs, compared):
    """The sum over samples and pairs."""
    generator = torch.Generator().manual_seed(0)
    latent = {
        branch: torch.nn.functional.normalize(torch.randn(8, 5, generator=generator, dtype=torch.float64), dim=1)
        for branch in BRANCHES
    }
    z = {
        name[0] + plus: latent[name][start : start + 4].tolist()
        for name in BRANCHES
        for start, plus in ((0, ""), (4, "+"))
    }
    expected = sum(eq_7_3(*(z[name] for name in pair.split()), 0.5) for pair in compared)
    stage = pretraining(replace(PRETRAINING, pairs=pairs))
    assert stage.contrastive_term(latent).item() == pytest.approx(expected, rel=1e-9)


def test_some_depth_maps_are_predicted():
    """The first of each half; the others are the true ones. Statistics and modes are unchanged."""
    stage = pretraining(replace(PRETRAINING, predicted_depth_frac=0.5))
    stage.train()
    images, depth = labelled().rgb[:8], torch.full((8, 32, 32), 0.75)
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    found = stage.with_predicted(depth, images)
    assert [torch.equal(row, depth[0]) for row in found] == [False, False, True, True] * 2
    assert all(torch.equal(value, before[name]) for name, value in stage.network.state_dict().items())
    assert stage.network.pose.encoder.training
    with torch.no_grad():
        (own,) = stage.network.eval().rgb(images[4:5])
    expected = torch.nn.functional.interpolate(own.depth_map[None], (32, 32), mode="bilinear")[0, 0].clamp(0, 1)
    torch.testing.assert_close(found[4], expected, atol=1e-5, rtol=1e-4)


def test_rows_train_what_they_need():
    stage = pretraining(replace(PRETRAINING, branches=("rgb",), pairs=()))
    terms = first_terms(stage)
    assert "contrastive" not in terms
    sum(terms.values()).backward()
    without = {name for name, p in stage.network.named_parameters() if p.requires_grad and p.grad is None}
    assert without == set()
    assert not any(p.requires_grad for p in stage.network.depth_encoder.parameters())
    full = pretraining()
    sum(first_terms(full).values()).backward()
    assert all(p.grad is not None for p in full.network.parameters())


def test_impossible_rows_are_refused():
    with pytest.raises(InputError, match="pairs fusion need branch fusion: add it to branches"):
        PretrainingConfig(branches=("rgb", "depth"), pairs=("fusion",))
    with pytest.raises(InputError, match="lack rgb"):
        PretrainingConfig(branches=("depth",), pairs=())
    with pytest.raises(InputError, match="predicted_depth_frac"):
        PretrainingConfig(predicted_depth_frac=2.0)


def test_resuming_is_bit_exact(tmp_path):
    images = other_images(tmp_path)

    def made():
        return pretraining(backgrounds=images)

    Run(tmp_path / "one", ONE_CPU).train(1, made())
    stage = made()
    disturb(stage, {2: crash})
    with pytest.raises(RuntimeError, match="power cut"):
        Run(tmp_path / "cut", ONE_CPU, checkpoint_seconds=0).train(1, stage)
    Run(tmp_path / "cut", ONE_CPU).train(1, made())
    one, cut = (tmp_path / name / "stages/1-pretraining" for name in ("one", "cut"))
    assert files_of(one) == files_of(cut)
    assert (one / "branches.safetensors").read_bytes() == (cut / "branches.safetensors").read_bytes()


def test_a_given_model_is_pretrained_by_the_method_itself():
    """So that the result is compared with the given model. Without one, pretraining is the source training."""
    method = DualModality(CONFIG)
    assert [stage.name for stage, _ in method.source_stages(None, context())] == ["pretraining"]
    assert [stage.name for stage, _ in method.stages(context(source_network=network()))] == ["fine-tuning"]
    method, given = DualModality(CONFIG), network(seed=7)
    made = context(source_network=given)
    assert [*method.source_stages(None, made)] == []
    stages = method.stages(made)
    first, selection = next(stages)
    assert (first.name, selection) == ("pretraining", None)
    for name, value in given.state_dict().items():
        assert torch.equal(first.result().state_dict()[name], value)
    assert first.result() is not given
    assert next(stages)[0].name == "fine-tuning"
    alone = DualModality(replace(CONFIG, fine_tuning=None))
    assert len([*alone.source_stages(None, context())]) == 1
    assert [*alone.stages(context())] == []
