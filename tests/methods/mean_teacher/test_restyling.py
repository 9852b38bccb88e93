"""Random style transfer between source and target images."""

import pytest
import torch

from methods.mean_teacher.adaptation_steps import NO_AUGMENTATION, batches
from posebridge.draw import generator_for
from posebridge.training.style import FourierStyle, restyle_randomly
from training.dots import RecordingFinder, adaptation_stage, context, dots, with_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_without_style_images_are_unchanged():
    for style in (None, FourierStyle()):
        options = {**NO_AUGMENTATION, "style": style, "source_to_target": 0.0, "target_to_source": 0.0}
        stage = with_trainer(adaptation_stage(context(), RecordingFinder(), **options))
        source, target = batches()["source"].rgb, batches()["target"].rgb
        assert restyle_randomly(stage.labeller.restyler, source, target, 0.0, generator_for(0, 0)) is source
    one = with_trainer(adaptation_stage(context(), **{**NO_AUGMENTATION, "style": FourierStyle()}))
    none = with_trainer(adaptation_stage(context(), **NO_AUGMENTATION))
    a, b = (s.terms(batches(), generator_for(0, 0))["heat"].item() for s in (one, none))
    assert a != b


def test_style_is_applied_to_a_fraction_of_the_images():
    stage = with_trainer(adaptation_stage(context(), style=FourierStyle()))
    source, target = dots(200, seed=1).rgb, dots(8, seed=2, ground=0.5).rgb
    before = source.clone()
    for probability in (0.3, 1.0):
        restyled = restyle_randomly(stage.labeller.restyler, source, target, probability, generator_for(1, 0))
        changed = (restyled != source).flatten(1).any(1).float().mean().item()
        assert changed == pytest.approx(probability, abs=0.1)
    assert torch.equal(source, before)
