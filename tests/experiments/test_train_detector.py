import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.refusals import refused
from experiments.small_runs import ONE_CPU
from posebridge.deployment.detector import DetectOptions, Detector
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DETECTOR
from posebridge.experiments import train_detector
from posebridge.experiments.configs import TrainDetectorConfig
from posebridge.experiments.train_detector import SCORES, run_train_detector, score_detector, validation_scenes
from posebridge.networks.detector import DetectorConfig
from posebridge.training.detector_training import DetectorTraining

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrainDetectorConfig(hands=32, people=32, steps=2, test_scenes=3)


@pytest.fixture(scope="module")
def few_cutouts():
    """Few subjects are held back, since their rendering takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_detector, "_VALIDATION_CUTOUTS", {"hand": 8, "person": 8})
        yield


@pytest.fixture(scope="module")
def trained(few_cutouts, tmp_path_factory):
    """A run of two steps, and its scores. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "detector"
    return folder, run_train_detector(CONFIG, folder, ONE_CPU)


def test_scores_are_those_of_the_saved_model(trained):
    folder, scores = trained
    again = score_detector(folder, validation_scenes(folder / "cutouts", 3))
    assert repr(again) == repr(scores)  # NaN where there is no subject of a size
    written = json.loads((folder / SCORES).read_text())
    assert written.keys() == {"hand", "person"}
    assert written["hand"]["recall"] == scores["hand"].recall
    assert scores["hand"].labels + scores["person"].labels > 0
    found = Detector.load(folder, DetectOptions("hand", least_confidence=0.0)).detect(np.zeros((48, 64, 3), np.uint8))
    assert len(found) > 0  # an untrained network fires everywhere
    assert np.isfinite(found.boxes_xyxy).all()


def test_training_moves_the_weights_and_continues_from_a_model(trained, tmp_path, monkeypatch):
    """With a rate of zero, the result is the start."""
    folder, _ = trained
    network = load_model(folder, DETECTOR).network
    torch.manual_seed(CONFIG.seed)
    initial = DETECTOR.build(load_model(folder, DETECTOR).spec)
    changed = [not torch.equal(a, b) for a, b in zip(network.parameters(), initial.parameters(), strict=True)]
    assert all(changed)

    real = DetectorTraining.__init__

    def still(self, config, *rest):
        real(self, replace(config, schedule=replace(config.schedule, learning_rate=0.0, weight_decay=0.0)), *rest)

    monkeypatch.setattr(DetectorTraining, "__init__", still)
    config = replace(CONFIG, start=folder, sets=folder / "cutouts", steps=1, seed=0)
    run_train_detector(config, tmp_path / "more", ONE_CPU)
    continued = load_model(tmp_path / "more", DETECTOR).network
    for (name, found), expected in zip(continued.named_parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


def test_a_finished_run_is_not_trained_again(trained, monkeypatch):
    folder, scores = trained
    monkeypatch.setattr(DetectorTraining, "terms", lambda *_: pytest.fail("a step was trained"))
    assert repr(run_train_detector(CONFIG, folder, ONE_CPU)) == repr(scores)


def test_refusals(trained, tmp_path, monkeypatch):
    folder, _ = trained
    other = replace(load_model(folder, DETECTOR).spec, network=DetectorConfig(head_width=32))
    monkeypatch.setattr(train_detector, "DetectorSpec", lambda: other)
    line = refused(run_train_detector, replace(CONFIG, start=folder), tmp_path / "run")
    assert "has another network than this version trains" in line
    with pytest.raises(Exception, match="0 steps are impossible"):
        replace(CONFIG, steps=0)
