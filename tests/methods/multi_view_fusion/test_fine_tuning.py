"""Fine-tuning on depth without labels: gradients of each term, weights of zero, and the misfit of the target."""

from dataclasses import replace

import pytest
import torch

from methods.multi_view_fusion.short_training import QUICK, STILL
from posebridge.data.cube_views import CubeViews
from posebridge.draw import generator_for
from posebridge.fitting.depth_misfit import DepthEvidence, misfit
from posebridge.fitting.hand_fitting import HandFittingConfig
from posebridge.methods.multi_view_fusion.config import FineTuningConfig, MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.fine_tuning import FineTuning, _another_view
from posebridge.methods.multi_view_fusion.fused_hands import FusedHands
from posebridge.methods.multi_view_fusion.method import MultiViewFusion
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from training.dots import ONE_CPU, all_stages, with_trainer
from training.hands import TINY, depth_context

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = MultiViewFusionConfig(
    single_view=QUICK,
    fusion=QUICK,
    fine_tuning=FineTuningConfig(
        schedule=Schedule(steps=40, learning_rate=1e-3, decay="cosine", warmup=0.1, clip_norm=5.0),
        sets=2,
        augmentation=STILL,
    ),
)


@pytest.fixture(scope="module")
def context():
    return depth_context()


def tuning(context, **changes) -> FineTuning:
    config = replace(CONFIG, fine_tuning=replace(CONFIG.fine_tuning, **changes))
    return with_trainer(FineTuning(config, context, context.new_network()))


def terms_of(stage: FineTuning, number: int = 0) -> dict[str, torch.Tensor]:
    batches = {name: stream.batch(number) for name, stream in stage.streams.items()}
    return stage.terms(batches, generator_for(1, number + 1))


def moved(stage: FineTuning, *names: str) -> dict[str, bool]:
    """Which of the networks have gradients from these terms."""
    stage.zero_grad()
    terms = terms_of(stage)
    torch.stack([terms[name] for name in names]).sum().backward()
    model = stage.model
    parts = {"pixels": model.single.pixel_head, "whole": model.single.parameter_head, "fusion": model.fusion.down}
    parts["fused_hand"] = model.fused_parameter_head
    return {name: any(p.grad is not None and p.grad.any() for p in part.parameters()) for name, part in parts.items()}


def test_distillation_has_no_gradient_to_the_teacher(context):
    stage = tuning(context)
    found = moved(stage, "distillation_joints", "distillation_maps", "distillation_model_joints", "distillation_mesh")
    assert found == {"pixels": True, "whole": True, "fusion": False, "fused_hand": False}


def test_pseudo_labels_are_clamped(context):
    """Fused joints ten metres away give pseudo-labels that are clamped a little beyond the cube."""
    stage = tuning(context)
    calm = terms_of(stage)["distillation_joints"].item()
    with torch.no_grad():
        stage.model.fusion.offset_head.bias.fill_(80.0)
    far_off = terms_of(stage)["distillation_joints"].item()
    assert calm < far_off < 2.5


def test_a_fitted_teacher_also_trains_the_fused_hand(context):
    plain, stage = tuning(context), tuning(context, teacher_fitting=HandFittingConfig(steps=4))
    before, after = terms_of(plain), terms_of(stage)
    assert {*after} - {*before} == {
        "fused_distillation_joints",
        "fused_distillation_model_joints",
        "fused_distillation_mesh",
    }
    torch.testing.assert_close(after["fitting"], before["fitting"])
    assert after["distillation_mesh"] != before["distillation_mesh"]
    assert all(value.isfinite() for value in after.values())
    found = moved(stage, "fused_distillation_mesh")
    assert found["fused_hand"]
    assert not found["whole"]


def test_fitting_lowers_the_misfit_of_fused_hands(context):
    stage, config = tuning(context), HandFittingConfig(steps=6)
    batch = stage.streams["target"].batch(0)
    views = CubeViews.of(batch, stage.cube_m)
    with torch.no_grad():
        seen = stage.predict_views(views)[-1]
        fused = FusedHands.predict(stage.model, stage.hand, seen, views, len(batch) // 3, generator_for(3, 1))
    evidence = DepthEvidence.from_views(views, config.evidence, generator_for(4, 1))
    fitted, faces = fused.fitted(stage.hand, evidence, config), stage.hand.faces(torch.device("cpu"))
    sides = [misfit(mesh.vertices, faces, evidence, config.evidence) for mesh in (fused.mesh, fitted)]
    before, after = (side.unflatten(0, (-1, 3)).mean(1) for side in sides)
    assert (after <= before + 1e-6).all()
    assert after.mean() < 0.95 * before.mean()
    assert not fitted.vertices.requires_grad


def test_fitting_has_gradients_for_hand_heads(context):
    stage = tuning(context)
    for term in ("fitting", "cross"):
        assert moved(stage, term) == {"pixels": False, "whole": True, "fusion": False, "fused_hand": False}
    for term in ("fused_fitting", "fused_cross"):
        assert moved(stage, term)["fused_hand"]


def test_fitting_has_gradients_for_joints_that_hands_are_aligned_to():
    stage = tuning(depth_context(network=replace(TINY, parameter_head_width=16)))
    for term in ("fitting", "cross"):
        assert moved(stage, term)["pixels"]
    assert moved(stage, "fused_fitting")["fusion"]


@pytest.mark.parametrize(
    ("weight", "gone"),
    [
        ("fitting_weight", {"fitting", "fused_fitting"}),
        ("cross_weight", {"cross", "fused_cross"}),
        (
            "distillation_weight",
            {"distillation_joints", "distillation_maps", "distillation_model_joints", "distillation_mesh"},
        ),
        ("prior_weight", {"shape", "collision", "fused_shape", "fused_collision"}),
    ],
)
def test_a_weight_of_zero_leaves_a_term_out(context, weight, gone):
    whole = set(terms_of(tuning(context)))
    assert whole - set(terms_of(tuning(context, **{weight: 0.0}))) == gone


def first_view_gradients(stage: FineTuning, monkeypatch, empty_view: int | None) -> torch.Tensor:
    """Gradient of the target's loss in the first view's prediction; one view may be emptied."""
    stage.model.eval()  # the batch's statistics would combine views
    batches = {name: stream.batch(0) for name, stream in stage.streams.items()}
    if empty_view is not None:
        depth_m = batches["target"].depth_m.clone()
        depth_m[empty_view] = 0
        batches["target"] = replace(batches["target"], depth_m=depth_m)
    predicted = []
    predict_views = type(stage).predict_views

    def remember(views):
        predicted.append(predict_views(stage, views))
        return predicted[-1]

    monkeypatch.setattr(stage, "predict_views", remember)
    terms = stage.terms(batches, generator_for(1, 1))
    loss = torch.stack([stage.term_weights[name] * value for name, value in terms.items()]).sum()
    (prediction,) = predicted[-1]
    hand = prediction.hand
    gradients = torch.autograd.grad(loss, (hand.pose, hand.shape, hand.R, hand.centre, prediction.joints))
    return torch.cat([gradient[0].flatten() for gradient in gradients])


L_SM = {"cross_weight": 0.0, "distillation_weight": 0.0}


@pytest.mark.parametrize(
    ("changes", "combines"),
    [(L_SM, False), ({**L_SM, "cross_weight": 10.0}, True), ({**L_SM, "distillation_weight": 1.0}, True)],
)
def test_single_view_fitting_alone_combines_no_views(monkeypatch, changes, combines):
    """The gradient of a view then depends on its own depth only. Table 2's other rows do combine views."""
    context = depth_context(network=replace(TINY, parameter_head_width=16))
    stage = tuning(context, **changes)
    assert any(name.startswith(("fused_", "cross")) for name in stage.term_weights) == combines
    before, other, own = (first_view_gradients(stage, monkeypatch, view) for view in (None, 1, 0))
    assert torch.equal(before, other) != combines
    assert not torch.equal(before, own)


def test_another_view_of_the_same_set():
    other = _another_view(50, 3, generator_for(0, 1))
    place = torch.arange(150)
    assert (other // 3 == place // 3).all()
    assert (other != place).all()
    assert torch.equal(_another_view(4, 1, generator_for(0, 1)), torch.arange(4))


def test_pseudo_views_show_one_picture(context):
    """Rotated samples of one image: a hand that fits one of them fits all."""
    stage = tuning(context, pseudo_views=True, augmentation=CONFIG.fine_tuning.augmentation)
    assert len(stage.streams["target"].batch(0)) == 2
    terms = terms_of(stage)
    # Without augmentation the pseudo views are equal.
    torch.testing.assert_close(terms["cross"], terms["fitting"], rtol=0.05, atol=0)


def as_used(stage: FineTuning) -> dict[str, torch.Tensor]:
    """Terms of the networks in their current mode."""
    stage.model.eval()
    terms = terms_of(with_trainer(stage))
    stage.model.train()
    return terms


def test_models_are_set_to_training_mode(context):
    """Batch normalisation uses the statistics of the batch, as in the stages before."""
    stage = FineTuning(CONFIG, context, context.new_network().eval())
    assert all(module.training for module in stage.model.modules())


def test_fine_tuning_lowers_the_target_misfit(context, tmp_path):
    """All stages of a run; the last one lowers the misfit of the target's depth."""
    fitting = replace(CONFIG.fine_tuning, fitting_weight=300.0, cross_weight=300.0, source_weight=0.3)
    method = MultiViewFusion(replace(CONFIG, fine_tuning=fitting))
    run, names = Run(tmp_path, ONE_CPU), []
    for number, (stage, selection) in enumerate(all_stages(method, None, context), 1):
        assert selection is None
        if stage.name == "fine-tuning":
            before = as_used(stage)
        run.train(number, stage)
        names.append(stage.name)
    after = as_used(stage)
    assert names == ["single-view", "view-fusion", "fine-tuning"]
    assert after["fitting"] < before["fitting"]
    assert after["cross"] < before["cross"]


def test_an_empty_view_has_no_loss(context):
    stage = tuning(context)
    batches = {name: stream.batch(0) for name, stream in stage.streams.items()}
    target = batches["target"]
    empty = target.depth_m.clone()
    empty[1] = 0
    batches["target"] = replace(target, depth_m=empty)
    loss = torch.stack(list(stage.terms(batches, generator_for(1, 1)).values())).sum()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in stage.model.parameters())


def test_a_target_is_needed(context):
    with pytest.raises(ValueError, match="target"):
        FineTuning(CONFIG, replace(context, target=None), context.new_network())
