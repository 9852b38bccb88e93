"""Depth hands from labels: terms with known answers, and networks that learn."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebridge.bodies.parametric_hand import HandMesh
from posebridge.data.augment import GeometryConfig
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.geometry.offset_maps import decode_offsets, encode_offsets, normalised_weights
from posebridge.training.depth_training import (
    DepthTrainingConfig,
    DepthWeights,
    FusionTraining,
    SingleViewTraining,
    true_hand,
)
from posebridge.training.depth_views import DepthViewConfig, DrawnViews
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from training.dots import ONE_CPU, with_trainer
from training.hands import CUBE_M, TINY, depth_context

pytestmark = pytest.mark.usefixtures("one_thread")
STILL = DepthViewConfig(GeometryConfig(0.0, 0.0, 0.0, (1.0, 1.0)), shift=0.0, erased_share=0.0)
QUICK = DepthTrainingConfig(
    schedule=Schedule(steps=30, learning_rate=5e-3, decay="cosine", warmup=0.1, clip_norm=5.0),
    sets=2,
    augmentation=STILL,
)


@pytest.fixture(scope="module")
def context():
    return depth_context()


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


def test_labels_are_met_where_the_pixels_say_them(context):
    """Through every turn of a view: maps made of its true joints give the joints again."""
    batch = context.source_stream(2, 3).batch(0)
    drawn = DrawnViews.of(batch, CUBE_M, DepthViewConfig(), generator_for(3, 1))
    truth = true_hand(batch, drawn.whole)
    points, surface = drawn.shown.points(2)
    maps = encode_offsets(points, surface, truth.joints, reach=4.0)
    weights = normalised_weights(torch.zeros_like(maps.heat), surface)
    torch.testing.assert_close(decode_offsets(points, maps, weights, 4.0), truth.joints, atol=1e-4, rtol=0)


def test_what_is_erased_is_shown_to_the_network_alone(context):
    batch = context.source_stream(2, 3).batch(0)
    drawn = DrawnViews.of(batch, CUBE_M, replace(STILL, erased_share=1.0), generator_for(3, 1))
    assert torch.equal(drawn.whole.depth_m, batch.depth_m)
    missing = (drawn.shown.depth_m == 0) & (batch.depth_m > 0)
    assert missing.any()


def test_what_pixels_see_is_exact_in_every_precision(context):
    stage = with_trainer(SingleViewTraining(QUICK, context, context.new_model()), "bf16-mixed")
    views = DrawnViews.of(context.source_stream(2, 3).batch(0), CUBE_M, DepthViewConfig(), generator_for(3, 1)).shown
    points, _ = views.points(stage.model.single.map_stride)
    assert torch.equal(stage.see(views)[-1].points, points)


def test_single_views_learn(context, tmp_path):
    stage = SingleViewTraining(QUICK, context, context.new_model())
    before = with_trainer(stage).terms({"source": stage.streams["source"].batch(0)}, generator_for(1, 1))
    fusion = [p.detach().clone() for p in stage.model.fusion.parameters()]
    Run(tmp_path, ONE_CPU).train(1, stage)
    after = with_trainer(stage).terms({"source": stage.streams["source"].batch(0)}, generator_for(1, 1))
    for name in ("joints", "model_joints", "mesh"):
        assert after[name] < 0.85 * before[name]
    assert all(torch.equal(a, b) for a, b in zip(fusion, stage.model.fusion.parameters(), strict=True))


def test_every_stack_is_taught(context):
    stage = with_trainer(SingleViewTraining(QUICK, context, depth_context(network=replace(TINY, stacks=2)).new_model()))
    terms = stage.terms({"source": stage.streams["source"].batch(0)}, generator_for(1, 1))
    (terms["joints"] + terms["mesh"]).backward()
    first, second = stage.model.single, stage.model.single.more[0]
    for head in (first.pixels, second.pixels, first.whole, second.whole):
        assert max(g.abs().amax() for g in gradients(head)) > 0


def test_fusion_learns_and_single_views_stand_still(context, tmp_path):
    config = replace(QUICK, schedule=replace(QUICK.schedule, steps=40, learning_rate=3e-3))
    stage = FusionTraining(config, context, context.new_model())
    state = {name: value.clone() for name, value in stage.model.single.state_dict().items()}

    def loss() -> Tensor:
        stage.model.fusion.eval()
        batch = {"source": stage.streams["source"].batch(0)}
        return with_trainer(stage).terms(batch, generator_for(1, 1))["mesh"]

    before = loss()
    Run(tmp_path, ONE_CPU).train(1, stage)
    assert loss() < 0.8 * before
    assert all(torch.equal(state[name], value) for name, value in stage.model.single.state_dict().items())


def test_meshes_are_needed(context):
    batch = replace(context.source_stream(2, 3).batch(0), vertices_m=None)
    with pytest.raises(ValueError, match="joints and meshes"):
        true_hand(batch, CubeViews.of(batch, CUBE_M))


def test_true_hands_lie_in_their_views(context):
    batch = context.source_stream(2, 3).batch(0)
    truth = true_hand(batch, CubeViews.of(batch, CUBE_M))
    assert isinstance(truth, HandMesh)
    assert torch.cdist(truth.joints, truth.vertices).amin(2).max() < 0.2  # no joint is far from the skin


def test_weights_name_the_terms():
    weights = DepthWeights()
    assert set(weights.of_terms("x_", without=("maps",))) == {
        "x_joints",
        "x_model_joints",
        "x_mesh",
        "x_shape",
        "x_collision",
    }
