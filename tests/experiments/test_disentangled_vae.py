"""The disentangled VAE from end to end: both models, few labels, resumption, files, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.small_runs import ONE_CPU, preset_of, shrink
from posebridge.cli.main import main
from posebridge.deployment.estimator import load_estimator
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import IMAGE_SYNTHESIS, LATENT_POSE
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift
from posebridge.methods.disentangled_vae.settings import SETTINGS
from posebridge.presets.disentangled_vae import METHOD
from posebridge.presets.preset import Change

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = SynthShiftConfig(method=METHOD, target_domain="studio")
LABELLED = 16


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


def setting(name: str, labelled: int = LABELLED) -> Change:
    def change(preset):
        return preset.with_config(METHOD, SETTINGS[name](preset.config_of(METHOD), labelled))

    return change


def numbers_of(record) -> dict[str, float]:
    return {number.label: number.value for section in record.sections for number in section.numbers}


def test_estimation(tmp_path):
    outcome = run_synthshift(CONFIG, tmp_path / "run", ONE_CPU)
    loaded = load_model(tmp_path / "run")
    assert loaded.kind is LATENT_POSE
    assert {name.partition(".")[0] for name in loaded.network.state_dict()} == {"encoder", "decoder"}
    score = outcome.scores["source_only"]
    assert score.mean_error_mm is not None
    assert np.isfinite(score.mean_error_mm)
    numbers = numbers_of(outcome.record)
    assert 0 < numbers["viewpoint"] <= 180
    assert set(numbers) >= {"3D pose", "canonical pose", "divergence, canonical", "divergence, viewpoint"}
    again = run_synthshift(CONFIG, tmp_path / "run", ONE_CPU)
    assert again.scores == outcome.scores


@pytest.mark.parametrize("name", ["small-synthesis", "small-synthesis-extra"])
def test_synthesis(tmp_path, name, capsys):
    outcome = run_synthshift(replace(CONFIG, preset=name), tmp_path / "run", ONE_CPU)
    assert load_model(tmp_path / "run").kind is IMAGE_SYNTHESIS
    titles = [section.title for section in outcome.record.sections]
    assert titles == ["Latent space", "Latent walks", "Pose transfer"]
    for kind, file in (("walk", "walk.gif"), ("transfer", "transfer.png"), ("page", "page.html")):
        typed = ["synthesise", str(tmp_path / "run"), kind, "--seeds", "0", "1", "--steps", "3"]
        assert main([*typed, "--out", str(tmp_path / file)]) == 0
        assert (tmp_path / file).stat().st_size > 0
    assert main(["predict", str(tmp_path / "run"), str(tmp_path), "--out", str(tmp_path / "out")]) != 0
    assert "use it with posebridge synthesise" in capsys.readouterr().err
    with pytest.raises(InputError, match="synthesises images: use it with posebridge synthesise"):
        load_estimator(tmp_path / "run", "cpu")


def test_few_labels(tmp_path):
    """Each setting changes the step that it is about, and no other one."""
    weights = {}
    for name in SETTINGS:
        run_synthshift(CONFIG, tmp_path / name, ONE_CPU, change=setting(name))
        stages = sorted((tmp_path / name / "stages").iterdir())
        assert [stage.name for stage in stages] == ["1-disentangling", "2-embedding"]
        weights[name] = [(stage / "result.safetensors").read_bytes() for stage in stages]
    assert weights["semi-supervised"][0] != weights["supervised"][0]
    assert weights["weakly-supervised"][0] == weights["supervised"][0]
    assert weights["weakly-supervised"][1] != weights["supervised"][1]


def test_all_samples_labelled_leave_no_weak_ones(tmp_path):
    with pytest.raises(InputError, match="there are 66 samples, and none from 66 on"):
        run_synthshift(CONFIG, tmp_path / "run", ONE_CPU, change=setting("weakly-supervised", 66))


def test_tags_need_sequences(tmp_path):
    def without_contents(preset):
        return replace(preset, data=replace(preset.data, contents=0))

    config = replace(CONFIG, preset="small-synthesis")
    with pytest.raises(InputError, match="this source has no tag images") as raised:
        run_synthshift(config, tmp_path / "run", ONE_CPU, change=without_contents)
    assert "\n" not in str(raised.value)


def test_presets():
    """beta is 100 in synthesis, and beta''' 0.01 in estimation; lambda is 1 and 0.01."""
    family = "synthshift/hand-rgb"
    for name in ("full", "small"):
        synthesis = preset_of(family, METHOD, f"{name}-synthesis").config_of(METHOD).task
        estimation = preset_of(family, METHOD, name).config_of(METHOD).task
        assert synthesis.disentangling.beta == 100
        assert estimation.embedding.beta == 0.01
        for bound in (synthesis.disentangling, estimation.disentangling, estimation.embedding):
            assert (bound.lambda_x, bound.lambda_y) == (1.0, 0.01)
    full = preset_of(family, METHOD, "full-synthesis").model.network
    assert (full.pose_latent, full.content_latent, full.hidden) == (32, 32, (512,) * 6)
    embedding = preset_of(family, METHOD, "full").config_of(METHOD).task.embedding
    assert (embedding.batch_size, embedding.schedule.learning_rate) == (32, 1e-4)
