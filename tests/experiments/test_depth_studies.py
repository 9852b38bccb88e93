"""The recipe of multi-view fusion at a size of seconds: what it measures, and what runs share."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from posebridge.recipes import depth_fusion
from posebridge.recipes.depth_fusion import (
    SMALL,
    DepthFusionConfig,
    DepthFusionSize,
    compare_fusions,
    render_data,
    run_depth_fusion,
)
from posebridge.recipes.depth_fusion_measure import RULES, HandErrors, measure
from recipes.small_depth import quick

from posebridge.bodies.parametric_hand import AnnyHand
from posebridge.contracts.batch import LabelledBatch
from posebridge.data.cube_views import CubeViews
from posebridge.data.multiview_stream import moments_of
from posebridge.errors import InputError
from posebridge.networks.view_fusion import ViewFusionConfig
from training.dots import ONE_CPU
from training.hands import CUBE_M, new_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(depth_fusion, "SIZES", {"small": quick(SMALL)})


def numbers(errors: HandErrors) -> np.ndarray:
    *plain, rules = astuple(errors)
    assert rules.keys() == RULES.keys()
    return np.array([*plain, *rules.values()])


def test_errors_before_and_after(small, tmp_path):
    measured = run_depth_fusion(DepthFusionConfig(), tmp_path, ONE_CPU)
    assert [*measured] == ["pretrained, studio", "pretrained", "fine-tuned"]
    assert all(np.isfinite(numbers(errors)).all() for errors in measured.values())
    assert not np.array_equal(numbers(measured["pretrained"]), numbers(measured["fine-tuned"]))
    stages = sorted(folder.name for folder in (tmp_path / "stages").iterdir())
    assert stages == ["1-single-view", "2-view-fusion", "3-fine-tuning"]
    again = run_depth_fusion(DepthFusionConfig(), tmp_path, ONE_CPU)  # loads them
    np.testing.assert_allclose(numbers(again["fine-tuned"]), numbers(measured["fine-tuned"]), rtol=1e-4)


def test_ablations_share_what_comes_before(small, tmp_path):
    config = DepthFusionConfig(pretrained=tmp_path / "pretrained")

    def without_fitting(size: DepthFusionSize) -> DepthFusionSize:
        tuning = replace(size.method.fine_tuning, fitting_weight=0.0)
        return replace(size, method=replace(size.method, fine_tuning=tuning))

    whole = run_depth_fusion(config, tmp_path / "whole", ONE_CPU)
    made = {path: path.stat().st_mtime_ns for path in Path(tmp_path / "pretrained").rglob("result.safetensors")}
    other = run_depth_fusion(config, tmp_path / "other", ONE_CPU, without_fitting)
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert len(made) == 2
    assert numbers(whole["pretrained"]) == pytest.approx(numbers(other["pretrained"]))
    assert not np.array_equal(numbers(whole["fine-tuned"]), numbers(other["fine-tuned"]))
    with pytest.raises(InputError, match="another version of its recipe"):
        run_depth_fusion(config, tmp_path / "whole", ONE_CPU, without_fitting)


def test_a_translated_source_is_a_run_of_its_own(small, tmp_path):
    """The target has a part in it from the start, so nothing is shared."""
    config = DepthFusionConfig(pretrained=tmp_path / "pretrained")
    measured = run_depth_fusion(config, tmp_path / "run", ONE_CPU, DepthFusionSize.translating)
    assert [*measured] == ["pretrained, studio", "pretrained", "fine-tuned"]
    assert not (tmp_path / "pretrained").exists()
    assert (tmp_path / "run" / "stages" / "1-translation" / "stage.json").exists()


def test_two_stacks_are_a_run_of_their_own(small, tmp_path):
    config = DepthFusionConfig(pretrained=tmp_path / "pretrained")
    measured = run_depth_fusion(config, tmp_path / "run", ONE_CPU, lambda size: size.stacked(2))
    assert np.isfinite(numbers(measured["fine-tuned"])).all()
    assert not (tmp_path / "pretrained").exists()


def test_which_frames_are_adapted_to(small, tmp_path):
    config = DepthFusionConfig(pretrained=tmp_path / "pretrained")
    data = render_data(quick(SMALL), config)
    train, test, both = (data.target(frames) for frames in ("train", "test", "both"))
    assert torch.equal(test.all().depth_m, data.test_target.all().depth_m)
    assert torch.equal(both.all().depth_m, torch.cat([train.all().depth_m, test.all().depth_m]))
    assert len(moments_of(both.without_images())) == len(moments_of(train.without_images())) + len(
        moments_of(test.without_images())
    )
    assert not isinstance(both.without_images(), LabelledBatch)
    found = [
        run_depth_fusion(replace(config, frames=frames), tmp_path / frames, ONE_CPU, data=data)
        for frames in ("train", "test")
    ]
    assert found[0]["pretrained"] == found[1]["pretrained"]
    assert found[0]["fine-tuned"] != found[1]["fine-tuned"]


def test_perfect_hands_have_no_error(small, monkeypatch):
    """Views that say the truth; what is left is the hand model's own."""
    data = render_data(quick(SMALL), DepthFusionConfig())
    model, hand = new_model()(), AnnyHand()
    made = model.single.forward

    def told(picture, points, surface):
        seen = made(picture, points, surface)[-1]
        batch = data.test_target.part(slice(0, len(picture)))
        return [replace(seen, joints=CubeViews.of(batch, CUBE_M).in_cubes(batch.joints_m))]

    monkeypatch.setattr(model.single, "forward", told)
    errors = measure(model, hand, data.test_target, CUBE_M, views=3)
    assert errors.pixels_mm < 1e-3
    assert max(errors.rules_mm.values()) < 0.05  # through the world and back
    assert errors.fused_pixels_mm < 0.05
    assert errors.model_mm > 1


def test_fusions_share_the_network_of_single_views(small, tmp_path):
    config = DepthFusionConfig(pretrained=tmp_path / "pretrained")
    data = render_data(quick(SMALL), config)
    fusions = {"joints": ViewFusionConfig(visual=False, confidence="none"), "all": ViewFusionConfig()}
    measured = compare_fusions(config, tmp_path / "fusion", ONE_CPU, fusions, data)
    assert [*measured] == ["joints, studio", "joints, street", "all, studio", "all, street"]
    joints, everything = measured["joints, street"], measured["all, street"]
    assert joints.pixels_mm == everything.pixels_mm
    assert joints.rules_mm == everything.rules_mm
    assert joints.fused_pixels_mm != everything.fused_pixels_mm
    run_depth_fusion(config, tmp_path / "whole", ONE_CPU, data=data)  # goes on from the same network
    with pytest.raises(ValueError, match="give the folder"):
        compare_fusions(DepthFusionConfig(), tmp_path / "fusion", ONE_CPU, fusions, data)
