from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.multi_view_fusion.short_training import QUICK
from posebridge.data.cube_views import CubeViews
from posebridge.methods.multi_view_fusion.config import FineTuningConfig, MultiViewFusionConfig
from posebridge.methods.multi_view_fusion.depth_views import DepthViewConfig
from posebridge.methods.multi_view_fusion.method import MultiViewFusion
from posebridge.methods.multi_view_fusion.translation import Translation, TranslationConfig, translated
from posebridge.networks.translation import Discriminator, Translator, TranslatorConfig
from posebridge.training.frames import InMemoryFrames
from posebridge.training.optimisers import Schedule
from posebridge.training.run import Run
from training.dots import ONE_CPU, all_stages
from training.hands import CUBE_M, depth_context

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORKS = TranslatorConfig(channels=8, blocks=2, discriminator_channels=8, discriminator_halvings=2)
STILL = DepthViewConfig(
    replace(DepthViewConfig().geometry, rotation_deg=0.0, translation=0.0, scale=(1.0, 1.0)), 0.0, 0.0
)


def config(steps: int) -> TranslationConfig:
    return TranslationConfig(Schedule(steps, 2e-3, "none", momentum=0.5), NETWORKS, augmentation=STILL)


def trained(context, tmp_path, steps: int) -> Translation:
    stage = Translation(config(steps), context)
    Run(tmp_path, ONE_CPU).train(1, stage)
    return stage


def picture(shape=(2, 1, 32, 32)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_new_translator_is_the_identity():
    assert torch.equal(Translator(NETWORKS)(picture()), picture())
    assert Discriminator(NETWORKS)(picture()).shape[1] == 1


def test_each_network_has_its_own_terms(tmp_path):
    stage = trained(depth_context(), tmp_path, 1)  # sets its trainer
    batches = {name: stream.batch(0) for name, stream in stage.streams.items()}
    terms = stage.terms(batches, torch.Generator().manual_seed(0))
    translators = [*stage.to_target.parameters(), *stage.to_source.parameters()]
    discriminators = [*stage.discriminator_target.parameters(), *stage.discriminator_source.parameters()]

    def moved(name, parameters):
        found = torch.autograd.grad(terms[name], parameters, retain_graph=True, allow_unused=True)
        return sum(float(g.abs().sum()) for g in found if g is not None)

    assert moved("adversarial", translators) > 0
    assert moved("adversarial", discriminators) == 0
    assert moved("discriminator", discriminators) > 0
    assert moved("discriminator", translators) == 0
    # Nothing is translated yet, so cycle and identity losses are zero.
    fresh = Translation(config(1), depth_context())
    fresh._trainer = stage._trainer
    start = fresh.terms(batches, torch.Generator().manual_seed(0))
    assert start["cycle"] == 0
    assert start["identity"] == 0


def test_translated_depth_has_the_holes_of_the_target(tmp_path):
    """A target sensor without bands of the image: translated depth lacks these bands and little else."""
    context = depth_context(sets=8)
    source = context.source.dataset
    depth_m = source.without_images().depth_m
    missed = torch.arange(depth_m.shape[-1]) % 8 < 4
    target = source.map(lambda batch: replace(batch, depth_m=depth_m.masked_fill(missed, 0)).unlabelled())
    loose = replace(config(300), cycle_weight=0.5, identity_weight=0.1)
    loose = replace(loose, schedule=replace(loose.schedule, learning_rate=5e-3))
    stage = Translation(loose, replace(context, target=InMemoryFrames(target, 1)))
    Run(tmp_path, ONE_CPU).train(1, stage)
    found = (
        translated(source, stage.result(), replace(stage.config, translated_frac=1.0), CUBE_M, 0)
        .without_images()
        .depth_m
    )
    surface = CubeViews.of(source.without_images(), CUBE_M).foreground()
    gone = (found == 0) & surface
    in_bands, beside = (gone[..., where].sum() / surface[..., where].sum() for where in (missed, ~missed))
    assert in_bands > 0.15
    assert beside < in_bands / 2.5


def test_labels_and_untranslated_images_are_unchanged():
    context = depth_context()
    translator = Translator(NETWORKS)
    with torch.no_grad():
        translator.last.bias.add_(0.2)  # all depth a tenth of the cube farther
    source, half = context.source.dataset, replace(config(1), translated_frac=0.5)
    found = translated(source, translator, half, CUBE_M, 3)
    again = translated(source, translator, half, CUBE_M, 3)
    other = translated(source, translator, half, CUBE_M, 4)
    before, after = source.without_images(), found.without_images()
    assert torch.equal(after.depth_m, again.without_images().depth_m)
    assert not torch.equal(after.depth_m, other.without_images().depth_m)
    for name in ("joints_m", "vertices_m", "centre_m", "T_world_cam"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    changed = (before.depth_m != after.depth_m).flatten(1).any(1)
    assert 0 < changed.sum() < len(before)
    i = int(changed.nonzero()[0])
    seen = CubeViews.of(before, CUBE_M).foreground()[i] & (after.depth_m[i] > 0)
    inside = (before.depth_m[i] - before.centre_m[i, 2]).abs() < 0.09
    np.testing.assert_allclose((after.depth_m - before.depth_m)[i][seen & inside], 0.2 * CUBE_M / 2, atol=1e-5)
    # Depth at the back of the cube, or beyond, is missing.
    assert (after.depth_m[i][before.depth_m[i] == 0] == 0).all()


def test_the_source_is_translated_before_the_supervised_stages(tmp_path):
    """Single-view, fusion and fine-tuning use the translated source, with unchanged labels."""
    settings = replace(config(1), translated_frac=1.0)
    method = MultiViewFusion(MultiViewFusionConfig(True, settings, QUICK, QUICK, FineTuningConfig(sets=2)))
    context, sources = depth_context(), {}
    for number, (stage, selection) in enumerate(all_stages(method, None, context), 1):
        assert selection is None
        if stage.name == "translation":
            Run(tmp_path, ONE_CPU).train(number, stage)
            with torch.no_grad():
                stage.result().last.bias.add_(0.2)
            plain = context.source.dataset
        sources[stage.name] = stage.streams["source"].dataset
    assert list(sources) == ["translation", "single-view", "view-fusion", "fine-tuning"]
    before, *after = (dataset.without_images() for dataset in (plain, *sources.values()))
    assert [torch.equal(batch.depth_m, before.depth_m) for batch in after] == [True, False, False, False]
    assert all(torch.equal(batch.joints_m, before.joints_m) for batch in after)


def test_translation_is_trained_for_a_given_source_model_too():
    settings = MultiViewFusionConfig(True, config(1), QUICK, QUICK)
    given = depth_context()
    given = replace(given, source_network=given.new_network())
    method = MultiViewFusion(settings)
    assert [stage.name for stage, _ in method.source_stages(None, given)] == ["translation"]
    with pytest.raises(ValueError, match="source-trained network"):
        next(method.stages(depth_context()))


def test_a_context_without_a_target_is_refused():
    with pytest.raises(ValueError, match="trains on a target"):
        Translation(config(1), replace(depth_context(), target=None))
