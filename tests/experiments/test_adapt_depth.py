"""Adaptation to a user's depth frames, at a size of seconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bodies.mano_file import write_mano
from data.rendered_depth import UNIT_M, hands, truth_of, write_archive, write_rig
from deployment.depth_hands import predictor
from experiments.refusals import refused
from experiments.small_runs import preset_of
from posebridge.bodies.mano import mano_hand
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record_file import load_record
from posebridge.data.crops import CubeCropConfig
from posebridge.data.depth_target import DepthCrops, DepthTargetConfig, open_depth
from posebridge.data.filled_cubes import filled_cube
from posebridge.data.in_memory import InMemoryDataset
from posebridge.deployment import refined_crops
from posebridge.deployment.depth_predictor import DepthHandPredictor
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.deployment.predict_depth import PredictDepthConfig, predict_depth_files
from posebridge.errors import InputError
from posebridge.evaluation.protocols import DEPTH_JOINT_ERROR
from posebridge.experiments.adapt_depth import DepthTargetData, run_adapt_depth
from posebridge.experiments.configs import AdaptDepthConfig
from posebridge.experiments.evaluation_sets import InMemoryEvaluation
from posebridge.training.frames import InMemoryFrames
from posebridge.training.run import Run
from report.find_sections import section_of, value_of
from training.dots import ONE_CPU

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def batch():
    return hands(3)


def target_data(config: DepthTargetConfig) -> DepthTargetData:
    """The frames cut around the nearest blob; nothing is rendered."""
    preset = preset_of("adapt/hand-depth", "multi-view-fusion")
    crop = CubeCropConfig(preset.model.size_px, preset.model.cube_m, config.hand)
    crops = DepthCrops(open_depth(config), crop)
    dataset = InMemoryDataset(crops)
    return DepthTargetData(
        source=InMemoryFrames(dataset, 0),
        target=InMemoryFrames(dataset, 1),
        source_joints_m=torch.zeros(1, 21, 3),
        evaluation=InMemoryEvaluation(dataset, None, DEPTH_JOINT_ERROR, preset.model.cube_m),
        crops=crops,
    )


def explained(record):
    return section_of(record, "Explained depth").tables


def one_camera(folder, batch, **changes):
    return write_archive(folder / "clip.npz", batch, T_world_cam=None, **changes)


def test_one_camera_with_a_truth(batch, tmp_path):
    file = one_camera(tmp_path, batch)
    truth = truth_of(batch, [f"clip-{i}" for i in range(9)])
    truth.save(tmp_path / "truth.npz")
    out = tmp_path / "run"
    record = run_adapt_depth(
        AdaptDepthConfig(
            source="renders", target=DepthTargetConfig(file), domain="studio", truth=tmp_path / "truth.npz"
        ),
        out,
        ONE_CPU,
    )
    found, meshes = KeypointSet.load(out / "predictions.npz"), np.load(out / "meshes.npz")
    errors = np.linalg.norm(found.xyz_mm - truth.xyz_mm, axis=-1)
    assert record.scores["adapted"].mean_error_mm == pytest.approx(errors.mean(), rel=1e-4)
    gap_mm = np.median(np.linalg.norm(found.xyz_mm - meshes["pixel_joints_mm"], axis=-1).mean(1))
    section = section_of(record, "Explained depth")
    assert value_of(section, "pixel-wise to mesh joints", "adapted") == pytest.approx(gap_mm, rel=1e-3)
    median_mm = np.nanmedian(meshes["depth_error_mm"])
    assert value_of(section, "mesh to surface, median", "adapted") == pytest.approx(median_mm, rel=1e-3)
    assert record.scores["source_only"].mean_error_mm != record.scores["adapted"].mean_error_mm
    assert len(section.picture_rows) == 6
    assert "one camera" in record.notes[0]
    assert [*record.curves] == ["1-single-view", "2-view-fusion", "3-fine-tuning"]
    spec = load_model(out).spec
    assert (spec.method, spec.size_px) == ("multi-view-fusion", 32)
    assert section_of(load_record(out), "Explained depth").tables == section.tables


def test_second_call_trains_nothing(batch, tmp_path, monkeypatch):
    config = AdaptDepthConfig(source="renders", target=DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio")
    first = run_adapt_depth(config, tmp_path / "run", ONE_CPU)

    monkeypatch.setattr(Run, "_fit", lambda *_: pytest.fail("a finished stage was trained again"))
    again = run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert explained(again) == explained(first)
    with pytest.raises(InputError, match="a run of another config"):
        run_adapt_depth(replace(config, seed=1), tmp_path / "run", ONE_CPU)


def test_several_cameras_and_a_given_model(batch, tmp_path):
    first = AdaptDepthConfig(source="renders", target=DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio")
    run_adapt_depth(first, tmp_path / "first", ONE_CPU)
    folder = write_rig(tmp_path / "rig", batch)
    config = AdaptDepthConfig(
        DepthTargetConfig(folder, unit_mm=1000 * UNIT_M), source=tmp_path / "first", domain="studio"
    )
    record = run_adapt_depth(config, tmp_path / "second", ONE_CPU)
    assert [*record.curves] == ["1-fine-tuning"]
    assert "fine-tuning compares 3 views of it" in record.notes[0]
    assert record.scores == {}
    settled = (tmp_path / "second" / "recipe.yaml").read_text()
    assert "pseudo_views: false" in settled
    before = load_model(tmp_path / "first").network
    after = load_model(tmp_path / "second").network
    moved = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert any(moved)


def test_target_is_cut_around_predicted_hands(batch, tmp_path):
    target = DepthTargetConfig(one_camera(tmp_path, batch))
    by_blob = target_data(target)
    run_adapt_depth(AdaptDepthConfig(source="renders", target=target, domain="studio"), tmp_path / "run", ONE_CPU)
    loaded = load_model(tmp_path / "run", DEPTH_HAND)
    ours = DepthHandPredictor(loaded.spec, loaded.network)
    chosen = by_blob.refined(ours)
    torch.testing.assert_close(chosen.evaluation.frames.centre_m, chosen.target.dataset.all().centre_m)
    assert chosen.target.dataset.without_images().key == by_blob.target.dataset.without_images().key
    first = ours(by_blob.target.dataset.all(), fused=False)
    centre_m = chosen.target.dataset.without_images().centre_m
    torch.testing.assert_close(centre_m, first.pixel_joints_m.mean(1), atol=1e-3, rtol=0)


def test_views_that_disagree_keep_their_centres(batch, tmp_path, monkeypatch):
    def other_hand(frame, centre_m, *args):
        """The middle view of every moment is cut around another thing."""
        found = filled_cube(frame, centre_m, *args)
        aside = 0.3 * (frame.view == 1) * torch.tensor([1.0, 0.0, 0.0])
        return None if found is None else replace(found, centre_m=found.centre_m + aside)

    monkeypatch.setattr(refined_crops, "filled_cube", other_hand)
    monkeypatch.setattr(refined_crops, "_middles_m", lambda _, crops: crops.centre_m.numpy() + 0.01)
    first = target_data(DepthTargetConfig(write_archive(tmp_path / "clip.npz", batch)))
    again = first.refined(predictor())
    before, after = first.target.dataset.without_images(), again.target.dataset.without_images()
    assert after.key == before.key
    aside = before.view == 1
    torch.testing.assert_close(after.centre_m[aside], before.centre_m[aside])
    torch.testing.assert_close(after.centre_m[~aside], before.centre_m[~aside] + 0.01)


def test_renders_in_the_style_of_the_target(batch, tmp_path):
    config = AdaptDepthConfig(target=DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio", translate=True)
    record = run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert [*record.curves] == ["1-translation", "2-single-view", "3-view-fusion", "4-fine-tuning"]
    plain = run_adapt_depth(replace(config, translate=False, source="renders"), tmp_path / "plain", ONE_CPU)
    assert plain.curves["1-single-view"] != record.curves["2-single-view"]
    again = run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert explained(again) == explained(record)


def test_frames_without_depth_are_listed(batch, tmp_path, capsys):
    depth_m = batch.depth_m.numpy().copy()
    depth_m[4] = 0
    file, out = one_camera(tmp_path, batch, depth_m=depth_m), tmp_path / "run"
    config = AdaptDepthConfig(source="renders", target=DepthTargetConfig(file), domain="studio")
    record = run_adapt_depth(config, out, ONE_CPU)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"1 files could not be used; they are listed in {out / 'skipped.json'}"
    assert json.loads((out / "skipped.json").read_text())["reasons"] == {"clip-4": "the frame has no depth at all"}
    assert [skipped.file for skipped in record.skipped] == ["clip-4"]
    page = (out / "report.html").read_text()
    assert "Explained depth" in page
    assert "clip-4" in page
    (out / "report.html").unlink()
    run_adapt_depth(config, out, ONE_CPU)
    assert (out / "report.html").exists()


def test_two_stacks_are_trained_and_fine_tuned_again(batch, tmp_path):
    config = AdaptDepthConfig(target=DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio", stacks=2)
    run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert load_model(tmp_path / "run").spec.network.stacks == 2
    further = replace(config, source=tmp_path / "run", stacks=1)
    run_adapt_depth(further, tmp_path / "further", ONE_CPU)
    assert load_model(tmp_path / "further").spec.network.stacks == 2
    with pytest.raises(InputError, match="leave --stacks out"):
        run_adapt_depth(replace(further, stacks=2), tmp_path / "no", ONE_CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "no method 'magic': choose source-only"),
        ({"method": "geometric-reconstruction"}, "takes colour, and the target of adapt-depth is depth"),
        ({"method": "mean-teacher"}, "has no method mean-teacher: choose multi-view-fusion"),
        ({"preset": "huge"}, "no preset 'huge': choose small, full"),
        ({"domain": "moon"}, "no domain 'moon': choose one of studio, street, bare, varied"),
        ({"source": Path("nowhere")}, "nowhere: no such file or folder"),
        ({"truth": Path("nowhere.npz")}, "nowhere.npz does not exist"),
        ({"mano": Path("nowhere.pkl")}, "nowhere.pkl"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_values_that_there_are_not(batch, tmp_path, changes, message):
    config = AdaptDepthConfig(source="renders", target=DepthTargetConfig(one_camera(tmp_path, batch)))
    assert message in refused(run_adapt_depth, replace(config, **changes), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reach_m": (2, 1)}, "two rising distances"),
        ({"reach_m": (2, 3)}, "check its unit, or give another range"),
        ({"unit_mm": 0.1}, "holds its own unit: leave --depth-unit-mm and --depth-encoding out"),
    ],
)
def test_targets_that_do_not_fit(batch, tmp_path, changes, message):
    file = one_camera(tmp_path, batch)
    config = AdaptDepthConfig(source="renders", target=DepthTargetConfig(file, **changes))
    assert message in refused(run_adapt_depth, config, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": np.array([f"other-{i}" for i in range(9)])}, "shares no key with the target (such as 'clip-0'"),
        ({"joint_names": None, "uv_px": np.zeros((9, 14, 2)), "xyz_mm": None}, "14 joints without names"),
        ({"joint_names": tuple(f"bone-{i}" for i in range(21))}, "no joint of skeleton hand21"),
        ({"xyz_mm": np.random.default_rng(0).normal([0, 0, 0.5], 0.05, (9, 21, 3))}, "they look like metres"),
        ({"xyz_mm": np.random.default_rng(0).normal(0, 50, (9, 21, 3))}, "give it in the camera's frame"),
        ({"uv_px": None}, "the truth has no uv_px and no uvd: give one of them"),
    ],
)
def test_truth_that_does_not_fit(batch, tmp_path, changes, message):
    file = one_camera(tmp_path, batch)
    truth = replace(truth_of(batch, [f"clip-{i}" for i in range(9)]), **changes)
    truth.save(tmp_path / "truth.npz")
    config = AdaptDepthConfig(
        source="renders", target=DepthTargetConfig(file), domain="studio", truth=tmp_path / "truth.npz"
    )
    assert message in refused(run_adapt_depth, config, tmp_path / "run")


def test_hand_of_mano(batch, tmp_path):
    """Rendered from its file, trained, and predicted."""
    file, mano = one_camera(tmp_path, batch), write_mano(tmp_path / "mano.npz")
    out = tmp_path / "run"
    config = AdaptDepthConfig(source="renders", target=DepthTargetConfig(file), domain="studio", mano=mano)
    run_adapt_depth(config, out, ONE_CPU)
    vertices = len(mano_hand(mano).rig.vertices_m)
    assert np.load(out / "meshes.npz")["vertices_mm"].shape == (9, vertices, 3)
    assert b"mano" not in (out / "model.safetensors").read_bytes()[:20_000].lower()
    predict = PredictDepthConfig(out, DepthTargetConfig(file), tmp_path / "found", overlays=0)
    with pytest.raises(InputError, match=r"give --mano MANO_RIGHT\.pkl"):
        predict_depth_files(predict)
    predict_depth_files(replace(predict, mano=mano))
    found = np.load(tmp_path / "found" / "meshes.npz")
    assert found["vertices_mm"].shape == (9, vertices, 3)
    # A model of another hand is no start.
    other = replace(config, source=out, mano=None)
    message = refused(run_adapt_depth, other, tmp_path / "other")
    assert "predicts hands of mano, and this run's are those of anny" in message
