"""Aligned latent spaces from end to end: SynthShift, strategies, weak labels, recipes."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.small_latents import smaller
from experiments.small_runs import ONE_CPU, preset_of, shrink
from posebridge.contracts.record import Record
from posebridge.contracts.source_labels import JOINTS
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import ALIGNED_POSE
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.experiments.transfers import TRANSFERS
from posebridge.presets.aligned_latent_spaces import METHOD, STRATEGIES, config_in, presets_of_strategies, with_method

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = SynthShiftConfig(method=METHOD, target_domain="studio")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def section_titles(record: Record) -> list[str]:
    return [section.title for section in record.sections]


def test_synthshift(tmp_path):
    """A run trains one stage on the source, is scored in space, and leaves a model and three sections."""
    outcome = run_synthshift(CONFIG, tmp_path / "run", ONE_CPU)
    assert [path.name for path in (tmp_path / "run" / "stages").iterdir()] == ["1-alignment"]
    model = load_model(tmp_path / "run")
    assert model.kind is ALIGNED_POSE
    assert model.spec.method == METHOD
    assert 0.04 < model.spec.reference_length_m < 0.12
    score = outcome.scores["source_only"]
    assert np.isfinite(score.mean_error_mm)
    assert section_titles(outcome.record) == [
        "Poses and clouds from images",
        "Interpolation of latent vectors",
        "Divergence from the prior",
    ]
    shown = outcome.record.sections[0].picture_rows[0]
    assert [picture.caption for picture in shown.pictures] == ["image", "pose", "true cloud", "predicted cloud"]
    again = run_synthshift(CONFIG, tmp_path / "run", ONE_CPU)
    assert again.scores == outcome.scores
    assert again.record.sections[2].numbers == outcome.record.sections[2].numbers


@pytest.mark.parametrize("name", ["R2P", "R2HP", "RC2CHP-KL"])
def test_strategies(tmp_path, name):
    outcome = run_synthshift(CONFIG, tmp_path / "run", ONE_CPU, change=lambda preset: smaller(STRATEGIES[name](preset)))
    stage = outcome.trained["source_only"].stages[0]
    assert (stage.models.network.heat_decoder is not None) == ("H" in name)
    assert (stage.models.cloud_decoder is not None) == ("C" in name)
    assert len(section_titles(outcome.record)) == 3


def test_weak_labels(tmp_path):
    outcome = run_synthshift(CONFIG, tmp_path / "run", ONE_CPU, change=with_method(labelled=16))
    assert set(outcome.trained["source_only"].stages[0].streams) == {"labelled", "weak"}


def test_presets_of_strategies_differ_in_their_strategy_alone():
    best = preset_of("synthshift/hand-rgb", METHOD)
    rows = {preset.name: preset for preset in presets_of_strategies(best)}
    assert set(rows) == {f"small-{name}" for name in STRATEGIES} - {"small-RC2CHP"}
    assert config_in(rows["small-RC2CHP-KL"]) == replace(config_in(best), alignment="divergence")
    assert rows["small-RC2CHP-KL"].model == best.model
    assert config_in(rows["small-R2HP"]).clouds is None
    assert rows["small-R2P"].model.network == replace(best.model.network, heat_maps=None)


def test_recipes_train_and_test_on_one_dataset():
    names = [name for name, transfer in TRANSFERS.items() if transfer.method == METHOD]
    assert names == ["rhd-to-rhd", "stb-to-stb"]
    assert all(TRANSFERS[name].source == TRANSFERS[name].target for name in names)


def test_datasets_without_depth_have_no_strategies_with_clouds():
    message = "stb has no depth and no hand_mask to make clouds of: choose the preset of a strategy without clouds"
    with pytest.raises(InputError, match=message):
        config_in(preset_of("datasets/hand-rgb", METHOD)).check_source("stb", frozenset({"joints"}))
    without = config_in(preset_of("datasets/hand-rgb", METHOD, "small-R2HP"))
    without.check_source("stb", frozenset({"joints"}))
    assert without.source_labels(JOINTS) == JOINTS
    with_clouds = config_in(preset_of("datasets/hand-rgb", METHOD))
    assert with_clouds.source_labels(JOINTS) == {"joints", "hand_mask", "depth"}


def test_people_have_no_preset(tmp_path):
    with pytest.raises(InputError, match="has no method aligned-latent-spaces"):
        run_synthshift(replace(CONFIG, track="body-rgb"), tmp_path, ONE_CPU)
