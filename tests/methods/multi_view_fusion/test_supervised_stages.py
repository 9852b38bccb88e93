"""Supervised stages on depth hands: terms with known values, and losses that decrease."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from methods.multi_view_fusion.short_training import QUICK, STILL
from posebridge.bodies.collision_spheres import CollisionSpheres
from posebridge.bodies.parametric_hand import HandMesh, HandParameters
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.geometry.offset_maps import decode_offsets, encode_offsets, normalised_weights
from posebridge.methods.multi_view_fusion.depth_views import AugmentedViews, DepthViewConfig
from posebridge.methods.multi_view_fusion.hand_terms import (
    DepthWeights,
    labelled_hand,
    model_terms,
    pixel_terms,
    prior_terms,
)
from posebridge.methods.multi_view_fusion.supervised_stages import (
    DepthTrainingConfig,
    FusionTraining,
    SingleViewTraining,
)
from posebridge.networks.depth_hand import ViewPrediction
from posebridge.training.run import Run
from training.dots import ONE_CPU, with_trainer
from training.hands import CUBE_M, TINY, depth_context

pytestmark = pytest.mark.usefixtures("one_thread")
BETA = DepthTrainingConfig().beta


@pytest.fixture(scope="module")
def context():
    return depth_context()


def seen_as(truth: HandMesh, views: CubeViews) -> ViewPrediction:
    """A prediction that equals the labels."""
    points, surface = views.points(2)
    maps = encode_offsets(points, surface, truth.joints, max_distance=1.0)
    weights = normalised_weights(torch.zeros_like(maps.heat), surface)
    count = len(points)
    R, place = torch.eye(3).expand(count, 3, 3), torch.zeros(count, 3)
    hand = HandParameters(torch.zeros(count, 22), torch.zeros(count, 8), R, place)
    return ViewPrediction(maps, weights, truth.joints, hand, torch.zeros(count, 1, 16, 16), 1.0, points, surface)


@pytest.fixture(scope="module")
def perfect(context) -> tuple[ViewPrediction, HandMesh]:
    batch = context.source.view_sets(1, 3).batch(0)
    views = CubeViews.of(batch, CUBE_M)
    truth = labelled_hand(batch, views)
    return seen_as(truth, views), truth


def test_correct_predictions_have_no_loss(perfect):
    seen, truth = perfect
    for terms in (pixel_terms(seen, truth.joints, BETA), model_terms(truth, truth, BETA)):
        assert all(cost == 0 for cost in terms.values())


def test_errors_have_their_smooth_l1_loss(perfect):
    """Eq. 7 to 9 beyond beta: the difference minus beta / 2; joints and vertices average over three axes."""
    seen, truth = perfect
    by = torch.tensor([0.1, 0.0, 0.0])
    moved = HandMesh(truth.vertices + by, truth.joints + by)
    third = torch.tensor((0.1 - BETA / 2) / 3)
    torch.testing.assert_close(pixel_terms(replace(seen, joints=moved.joints), truth.joints, BETA)["joints"], third)
    found = model_terms(moved, truth, BETA)
    torch.testing.assert_close(torch.stack([found["model_joints"], found["mesh"]]), third.expand(2))
    heat = replace(seen.maps, heat=seen.maps.heat + 0.1 * seen.surface[:, None])
    cost = pixel_terms(replace(seen, maps=heat), truth.joints, BETA)["maps"]
    torch.testing.assert_close(cost, torch.tensor(0.1 - BETA / 2))
    nowhere = replace(seen.maps, heat=seen.maps.heat + 0.1 * ~seen.surface[:, None])
    assert pixel_terms(replace(seen, maps=nowhere), truth.joints, BETA)["maps"] == 0


def test_the_prior_counts_squared_deviations(perfect, context):
    seen, truth = perfect
    twice = replace(seen.hand, shape=torch.full_like(seen.hand.shape, 2.0))
    assert prior_terms(CollisionSpheres.from_hand(context.hand), truth, twice)["shape"] == 4.0


def test_terms_by_finite_differences(perfect, context):
    """For all inputs of the terms, on both sides of beta."""
    seen, truth = perfect
    generator = generator_for(4, 1)

    def near(right: Tensor) -> Tensor:
        noise = 0.02 * torch.randn(right.shape, generator=generator, dtype=torch.float64)
        return (right.double() + noise).requires_grad_()

    joints, heat, direction = near(seen.joints[:1]), near(seen.maps.heat[:1]), near(seen.maps.direction[:1])
    one, target = seen.take(torch.tensor([0])), truth.joints[:1].double()
    one = replace(one, points=one.points.double())

    def of_pixels(joints: Tensor, heat: Tensor, direction: Tensor) -> tuple[Tensor, ...]:
        prediction = replace(one, joints=joints, maps=replace(one.maps, heat=heat, direction=direction))
        return tuple(pixel_terms(prediction, target, BETA).values())

    def of_model(joints: Tensor, vertices: Tensor) -> tuple[Tensor, ...]:
        goal = HandMesh(truth.vertices[:1, :50].double(), target)
        return tuple(model_terms(HandMesh(vertices, joints), goal, BETA).values())

    def of_shape(shape: Tensor) -> Tensor:
        return prior_terms(CollisionSpheres.from_hand(context.hand), truth, replace(seen.hand, shape=shape))["shape"]

    assert torch.autograd.gradcheck(of_pixels, (joints, heat, direction), fast_mode=True)
    assert torch.autograd.gradcheck(of_model, (joints, near(truth.vertices[:1, :50])))
    assert torch.autograd.gradcheck(of_shape, (near(seen.hand.shape),))


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


def test_offset_maps_of_true_joints_decode_to_the_labels(context):
    """In augmented views, offset maps of the true joints decode to these joints."""
    batch = context.source.view_sets(2, 3).batch(0)
    drawn = AugmentedViews.draw(batch, CUBE_M, DepthViewConfig(), generator_for(3, 1))
    truth = labelled_hand(batch, drawn.complete)
    points, surface = drawn.erased.points(2)
    maps = encode_offsets(points, surface, truth.joints, max_distance=4.0)
    weights = normalised_weights(torch.zeros_like(maps.heat), surface)
    torch.testing.assert_close(decode_offsets(points, maps, weights, 4.0), truth.joints, atol=1e-4, rtol=0)


def test_only_the_input_is_erased(context):
    batch = context.source.view_sets(2, 3).batch(0)
    drawn = AugmentedViews.draw(batch, CUBE_M, replace(STILL, erased_frac=1.0), generator_for(3, 1))
    assert torch.equal(drawn.complete.depth_m, batch.depth_m)
    missing = (drawn.erased.depth_m == 0) & (batch.depth_m > 0)
    assert missing.any()


def test_points_are_exact_in_mixed_precision(context):
    stage = with_trainer(SingleViewTraining(QUICK, context, context.new_network()), "bf16-mixed")
    views = AugmentedViews.draw(
        context.source.view_sets(2, 3).batch(0), CUBE_M, DepthViewConfig(), generator_for(3, 1)
    ).erased
    points, _ = views.points(stage.model.single.map_stride)
    assert torch.equal(stage.predict_views(views)[-1].points, points)


def test_single_view_training_lowers_the_loss(context, tmp_path):
    stage = SingleViewTraining(QUICK, context, context.new_network())
    before = with_trainer(stage).terms({"source": stage.streams["source"].batch(0)}, generator_for(1, 1))
    fusion = [p.detach().clone() for p in stage.model.fusion.parameters()]
    Run(tmp_path, ONE_CPU).train(1, stage)
    after = with_trainer(stage).terms({"source": stage.streams["source"].batch(0)}, generator_for(1, 1))
    for name in ("joints", "model_joints", "mesh"):
        assert after[name] < 0.85 * before[name]
    assert all(torch.equal(a, b) for a, b in zip(fusion, stage.model.fusion.parameters(), strict=True))


def test_every_stack_is_trained(context):
    stage = with_trainer(
        SingleViewTraining(QUICK, context, depth_context(network=replace(TINY, stacks=2)).new_network())
    )
    terms = stage.terms({"source": stage.streams["source"].batch(0)}, generator_for(1, 1))
    (terms["joints"] + terms["mesh"]).backward()
    first, second = stage.model.single, stage.model.single.later_stacks[0]
    for head in (first.pixel_head, second.pixel_head, first.parameter_head, second.parameter_head):
        assert max(g.abs().amax() for g in gradients(head)) > 0


def test_fusion_trains_on_a_frozen_single_view_network(context, tmp_path):
    config = replace(QUICK, schedule=replace(QUICK.schedule, steps=40, learning_rate=3e-3))
    stage = FusionTraining(config, context, context.new_network())
    state = {name: value.clone() for name, value in stage.model.single.state_dict().items()}

    def loss() -> Tensor:
        stage.model.fusion.eval()
        batch = {"source": stage.streams["source"].batch(0)}
        return with_trainer(stage).terms(batch, generator_for(1, 1))["mesh"]

    before = loss()
    Run(tmp_path, ONE_CPU).train(1, stage)
    assert loss() < 0.8 * before
    assert all(torch.equal(state[name], value) for name, value in stage.model.single.state_dict().items())


def test_sources_without_meshes_are_refused(context):
    batch = replace(context.source.view_sets(2, 3).batch(0), vertices_m=None)
    with pytest.raises(ValueError, match="joints and meshes"):
        labelled_hand(batch, CubeViews.of(batch, CUBE_M))


def test_true_joints_are_near_the_true_mesh(context):
    batch = context.source.view_sets(2, 3).batch(0)
    truth = labelled_hand(batch, CubeViews.of(batch, CUBE_M))
    assert isinstance(truth, HandMesh)
    assert torch.cdist(truth.joints, truth.vertices).amin(2).max() < 0.2  # no joint is far from the skin


def test_weights_name_the_terms():
    weights = DepthWeights()
    assert set(weights.by_term("x_", without=("maps",))) == {
        "x_joints",
        "x_model_joints",
        "x_mesh",
        "x_shape",
        "x_collision",
    }
