"""Training of source models, end to end, at a size that trains in seconds."""

from dataclasses import replace

import pytest
import torch

from experiments.small_runs import ONE_CPU, shrunk
from posebridge.deployment.model_file import load_model
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.experiments.train_source import run_train_source
from posebridge.presets.preset import Preset

CONFIG = TrainSourceConfig("hand-rgb", renders=64, steps=3)


def brief(preset: Preset) -> Preset:
    """The preset at a size that trains in seconds, with the average of weights."""
    assert preset.source is not None
    small = shrunk(preset)
    assert small.source is not None
    return replace(small, source=replace(small.source, average_decay=preset.source.average_decay))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    return folder, run_train_source(CONFIG, folder, ONE_CPU, brief)


def test_model_record_and_scores_of_other_domains(trained):
    folder, record = trained
    model = load_model(folder)
    assert model.spec.method == "source-only"
    assert record.scores.keys() == {"source_only"}
    assert record.scores["source_only"].n_frames == 24
    notes = "\n".join(record.notes)
    assert "64 labelled varied renders of seed 0" in notes
    assert "On studio renders: PCK@0.05 0." in notes
    assert "On street renders: PCK@0.05 0." in notes
    assert (folder / "report.html").is_file()


def test_training_continues_from_a_model(trained, tmp_path):
    """One step at a rate of zero leaves the weights of the start; without a start they are random."""

    def still(preset: Preset) -> Preset:
        small = brief(preset)
        assert small.source is not None
        schedule = replace(small.source.schedule, learning_rate=0.0, weight_decay=0.0)
        return replace(small, source=replace(small.source, schedule=schedule))

    folder, _ = trained
    config = replace(CONFIG, start=folder, steps=1, seed=1)
    run_train_source(config, tmp_path / "more", ONE_CPU, still)
    before, after = (load_model(path).network for path in (folder, tmp_path / "more"))
    for (name, found), expected in zip(after.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


def test_refusals(trained, tmp_path):
    folder, _ = trained
    with pytest.raises(InputError, match="another network than preset small of source/hand-rgb"):
        run_train_source(replace(CONFIG, start=folder), tmp_path, ONE_CPU)
    with pytest.raises(InputError, match="0 steps are impossible"):
        replace(CONFIG, steps=0)
    with pytest.raises(InputError, match="predicts hand21, and this run needs body22"):
        run_train_source(replace(CONFIG, name="body-rgb", start=folder), tmp_path, ONE_CPU, brief)
    assert not list(tmp_path.iterdir())
