"""Stages in order, and the label-free choice of checkpoints."""

import pytest
import torch

from deployment.rigged import DotFinder
from experiments.dot_frames import dot_frames
from posebridge.experiments.training import SourceComparison, StageTrainer, compare_with_source, label_free_selection
from posebridge.presets.preset import SelectionConfig
from posebridge.skeletons.hand import HAND21
from posebridge.training.run import Run


@pytest.fixture(scope="module")
def dots():
    return dot_frames()


def test_given_network_is_the_result_without_stages(tmp_path):
    network = DotFinder().train()
    trained = StageTrainer(Run(tmp_path)).train([], network)
    assert trained.network is network
    assert not network.training
    assert trained.reports == trained.files == trained.stages == ()
    with pytest.raises(ValueError, match="none was given"):
        StageTrainer(Run(tmp_path)).train([])


def test_labels_measure_and_never_choose(dots):
    """The score is the same with wrong and no labels; the number of the oracle differs."""

    class Stage:
        def __init__(self):
            self.network = DotFinder()

        def result(self):
            return self.network

    joints_m = torch.rand(4, 21, 3)
    without, given = (
        label_free_selection(SelectionConfig(), HAND21, joints_m, dots.unlabelled(), labels) for labels in (None, dots)
    )
    stage = Stage()
    assert without.score(stage.network) == given.score(stage.network)
    assert without.measure(stage) == {}
    wrong = len(range(0, 70, 3)) / 70
    assert given.measure(stage)["oracle"] == pytest.approx(1 - wrong, abs=0.02)


class Collapsed(DotFinder):
    """Predicts the pose of the first image for all."""

    def forward(self, images):
        heat, depth = super().forward(images)
        return heat[:1].expand_as(heat), depth


def _compared(dots, source, adapted) -> SourceComparison:
    generator = torch.Generator().manual_seed(0)
    joints_m = torch.rand(64, 21, 3, generator=generator)
    frames = dots.unlabelled()
    return compare_with_source(SelectionConfig(), HAND21, joints_m, frames, source.eval(), adapted.eval())


def test_an_equal_model_does_not_help(dots):
    """The unadapted model is kept unless the score rises clearly."""
    comparison = _compared(dots, DotFinder(), DotFinder())
    assert comparison.before == comparison.after > 0
    assert comparison.error == 0
    assert not comparison.helps
    assert "adaptation doesn't help, so the model before it is kept" in str(comparison)


def test_a_better_model_helps_and_a_worse_one_does_not(dots):
    better, worse = _compared(dots, Collapsed(), DotFinder()), _compared(dots, DotFinder(), Collapsed())
    assert better.helps
    assert not worse.helps
    assert better.after == worse.before > worse.after
    assert str(better).endswith("the adapted model is kept")


@pytest.mark.parametrize(("change", "helps"), [(0.019, False), (0.021, True), (-0.3, False)])
def test_noise_of_the_frames(change, helps):
    assert SourceComparison(before=0.5, after=0.5 + change, error=0.01).helps is helps
