"""Stages in order, and the label-free choice of checkpoints."""

import pytest
import torch

from deployment.rigged import DotFinder
from experiments.dot_frames import dot_frames
from posebridge.experiments.training import StageTrainer, label_free_selection
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
