"""Studies of multi-view fusion at a size of seconds: what they measure, and the stages that rows share."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_studies import (
    compare_fusions,
    fine_tuning,
    fine_tuning_steps,
    one_camera,
    run_depth_study,
    stacked,
    study_sets,
    translated,
)
from experiments.small_runs import shrink
from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.data.multiview_stream import moments_of
from posebridge.errors import InputError
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import synthshift_data, synthshift_experiment
from posebridge.methods.multi_view_fusion.hand_errors import FUSION_RULES, HandErrors, measure
from posebridge.networks.view_fusion import ViewFusionConfig
from posebridge.presets.table import find_preset
from training.dots import ONE_CPU
from training.hands import CUBE_M, new_model

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]
CONFIG = SynthShiftConfig("hand-depth", "multi-view-fusion")


@pytest.fixture(scope="module")
def sets():
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return study_sets(CONFIG)


@pytest.fixture(scope="module")
def shared(sets, tmp_path_factory) -> Path:
    """A folder in which the stages of pretraining lie. Not to be changed."""
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        run_depth_study(replace(CONFIG, shared=folder / "shared"), folder / "run", ONE_CPU, sets=sets)
    return folder / "shared"


def numbers(errors: HandErrors) -> np.ndarray:
    *plain, rules = astuple(errors)
    assert rules.keys() == FUSION_RULES.keys()
    return np.array([*plain, *rules.values()])


def stages(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "stages").iterdir())


def test_errors_before_and_after(sets, tmp_path):
    measured = run_depth_study(CONFIG, tmp_path, ONE_CPU, sets=sets)
    assert [*measured] == ["pretrained, studio", "pretrained", "fine-tuned"]
    assert all(np.isfinite(numbers(errors)).all() for errors in measured.values())
    assert not np.array_equal(numbers(measured["pretrained"]), numbers(measured["fine-tuned"]))
    assert stages(tmp_path) == ["1-single-view", "2-view-fusion", "3-fine-tuning"]
    again = run_depth_study(CONFIG, tmp_path, ONE_CPU)  # renders the same sets, and loads the stages
    np.testing.assert_allclose(numbers(again["fine-tuned"]), numbers(measured["fine-tuned"]), rtol=1e-4)


def test_rows_share_pretraining(sets, tmp_path):
    config = replace(CONFIG, shared=tmp_path / "shared")
    whole = run_depth_study(config, tmp_path / "whole", ONE_CPU, sets=sets)
    made = {path: path.stat().st_mtime_ns for path in Path(tmp_path / "shared").rglob("result.safetensors")}
    without_fitting = fine_tuning(fitting_weight=0.0)
    other = run_depth_study(config, tmp_path / "other", ONE_CPU, without_fitting, sets)
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert len(made) == 2
    assert numbers(whole["pretrained"]) == pytest.approx(numbers(other["pretrained"]))
    assert not np.array_equal(numbers(whole["fine-tuned"]), numbers(other["fine-tuned"]))
    with pytest.raises(InputError, match="another version of its recipe"):
        run_depth_study(config, tmp_path / "whole", ONE_CPU, without_fitting, sets)


def test_targets_share_pretraining(shared, tmp_path):
    """No target takes part in it; a mean teacher of the same track has a source model of its own."""
    made = {path: path.stat().st_mtime_ns for path in shared.rglob("result.safetensors")}
    run_depth_study(replace(CONFIG, target_domain="bare", shared=shared), tmp_path / "bare", ONE_CPU)
    assert made == {path: path.stat().st_mtime_ns for path in shared.rglob("result.safetensors")}
    assert stages(tmp_path / "bare") == ["3-fine-tuning"]
    assert stages(shared / "multi-view-fusion") == ["1-single-view", "2-view-fusion"]


def test_translated_source_is_a_run_of_its_own(sets, tmp_path):
    """The target takes part in it from the start, so nothing is shared."""
    config = replace(CONFIG, shared=tmp_path / "shared")
    measured = run_depth_study(config, tmp_path / "run", ONE_CPU, translated, sets)
    assert [*measured] == ["pretrained, studio", "pretrained", "fine-tuned"]
    assert not (tmp_path / "shared").exists()
    assert (tmp_path / "run" / "stages" / "1-translation" / "stage.json").exists()


def test_two_stacks_are_a_run_of_their_own(sets, tmp_path):
    config = replace(CONFIG, shared=tmp_path / "shared")
    measured = run_depth_study(config, tmp_path / "run", ONE_CPU, stacked(2), sets)
    assert np.isfinite(numbers(measured["fine-tuned"])).all()
    assert not (tmp_path / "shared").exists()


def test_frames_to_adapt_to(sets, shared, tmp_path):
    preset = synthshift_experiment(CONFIG, ONE_CPU).preset
    train, test, both = (
        synthshift_data(replace(CONFIG, target_split=split), preset, sets).target.dataset
        for split in ("train", "test", "both")
    )
    assert torch.equal(test.all().depth_m, sets.test_target.all().depth_m)
    assert torch.equal(both.all().depth_m, torch.cat([train.all().depth_m, test.all().depth_m]))
    assert len(moments_of(both.without_images())) == len(moments_of(train.without_images())) + len(
        moments_of(test.without_images())
    )
    assert not isinstance(both.without_images(), LabelledBatch)
    found = [
        run_depth_study(replace(CONFIG, target_split=split, shared=shared), tmp_path / split, ONE_CPU, sets=sets)
        for split in ("train", "test")
    ]
    assert found[0]["pretrained"] == found[1]["pretrained"]
    assert found[0]["fine-tuned"] != found[1]["fine-tuned"]


def test_perfect_hands_have_no_error(sets, monkeypatch):
    """Views whose joints are the true ones; the errors that remain are the hand model's."""
    model, hand = new_model()(), AnnyHand()
    made = model.single.forward

    def true_joints(picture, points, surface):
        seen = made(picture, points, surface)[-1]
        batch = sets.test_target.part(slice(0, len(picture)))
        return [replace(seen, joints=CubeViews.of(batch, CUBE_M).in_cubes(batch.joints_m))]

    monkeypatch.setattr(model.single, "forward", true_joints)
    errors = measure(model, hand, sets.test_target, CUBE_M, views=3)
    assert errors.pixels_mm < 1e-3
    assert max(errors.rules_mm.values()) < 0.05  # through the world and back
    assert errors.fused_pixels_mm < 0.05
    assert errors.model_mm > 1


def test_fusions_share_the_single_view_network(sets, tmp_path):
    config = replace(CONFIG, shared=tmp_path / "shared")
    fusions = {"joints": ViewFusionConfig(visual=False, confidence="none"), "all": ViewFusionConfig()}
    measured = compare_fusions(config, tmp_path / "fusion", ONE_CPU, fusions, sets)
    assert [*measured] == ["joints, studio", "joints, street", "all, studio", "all, street"]
    joints, everything = measured["joints, street"], measured["all, street"]
    assert joints.pixels_mm == everything.pixels_mm
    assert joints.rules_mm == everything.rules_mm
    assert joints.fused_pixels_mm != everything.fused_pixels_mm
    whole = run_depth_study(config, tmp_path / "whole", ONE_CPU, sets=sets)  # goes on from the same network
    assert stages(tmp_path / "whole") == ["3-fine-tuning"]
    assert numbers(whole["pretrained"]) == pytest.approx(numbers(everything))
    with pytest.raises(ValueError, match="give its folder"):
        compare_fusions(CONFIG, tmp_path / "fusion", ONE_CPU, fusions, sets)


def test_changes_of_the_preset():
    preset = find_preset("synthshift/hand-depth", "small", "multi-view-fusion")
    config = preset.methods["multi-view-fusion"]
    changed = fine_tuning_steps(7)(one_camera(preset)).methods["multi-view-fusion"]
    assert changed.fine_tuning == replace(config.one_camera, schedule=replace(config.one_camera.schedule, steps=7))
    assert changed.fine_tuning.pseudo_views
    assert stacked(2)(preset).model.network == replace(preset.model.network, stacks=2)
    assert translated(preset).methods["multi-view-fusion"] == replace(config, translate=True)
    colour = find_preset("synthshift/hand-rgb", "small", "mean-teacher")
    with pytest.raises(InputError, match="has no stacks: leave --stacks out"):
        stacked(2)(colour)
