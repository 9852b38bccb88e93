"""Training of source models, end to end, at a size that trains in seconds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.small_runs import ONE_CPU, shrunk
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.model_spec import DepthHandSpec
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainSourceConfig
from posebridge.experiments.train_source import run_train_source
from posebridge.methods.multi_view_fusion.config import MultiViewFusionConfig
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


@pytest.fixture(scope="module")
def depth(tmp_path_factory):
    """A run of a few steps on depth, and its record. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "hand-depth"
    config = replace(CONFIG, name="hand-depth", renders=12, steps=2)
    return folder, run_train_source(config, folder, ONE_CPU, brief_depth)


def brief_depth(preset: Preset) -> Preset:
    """Small sets and images."""
    assert isinstance(preset.model, DepthHandSpec)
    (name, config), *_ = preset.methods.items()
    assert isinstance(config, MultiViewFusionConfig)
    few = {stage: replace(getattr(config, stage), sets=2) for stage in ("single_view", "fusion")}
    return replace(
        preset,
        model=replace(preset.model, size_px=32),
        data=replace(preset.data, test=6),
        methods={name: replace(config, **few)},
    )


def test_depth_model_predicts_joints_and_meshes(depth):
    folder, record = depth
    model = load_model(folder, DEPTH_HAND)
    assert (model.spec.method, model.spec.hand) == ("source-only", "anny")
    assert record.method == "source-only"
    assert record.curves.keys() == {"1-single-view", "2-view-fusion"}
    assert record.sections == ()
    assert "On street renders" in "\n".join(record.notes)
    assert record.scores["source_only"].n_frames == 6
    with np.load(folder / "meshes.npz") as meshes:
        assert len(meshes["vertices_mm"]) == 6
    moved = zip(model.network.parameters(), DEPTH_HAND.build(model.spec).parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in moved)


def test_training_on_depth_continues_from_a_model(depth, tmp_path):
    def still(preset: Preset) -> Preset:
        small = brief_depth(preset)
        (name, config), *_ = small.methods.items()
        assert isinstance(config, MultiViewFusionConfig)
        stages = {}
        for stage in ("single_view", "fusion"):
            training = getattr(config, stage)
            schedule = replace(training.schedule, learning_rate=0.0, weight_decay=0.0)
            stages[stage] = replace(training, schedule=schedule)
        return small.with_config(name, replace(config, **stages))

    folder, _ = depth
    config = replace(CONFIG, name="hand-depth", renders=12, steps=1, seed=1, start=folder)
    run_train_source(config, tmp_path / "more", ONE_CPU, still)
    before, after = (load_model(path).network for path in (folder, tmp_path / "more"))
    for (name, found), expected in zip(after.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


def test_parts_of_sets_are_refused(tmp_path):
    with pytest.raises(InputError, match="renders are not whole sets of 3 views"):
        run_train_source(replace(CONFIG, name="hand-depth", renders=16), tmp_path / "run", ONE_CPU, brief_depth)
