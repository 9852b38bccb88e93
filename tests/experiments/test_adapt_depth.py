"""The main job on depth, at a size of seconds."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from posebridge.recipes import adapt_depth, depth_fusion
from posebridge.recipes.adapt_depth import AdaptDepthConfig, run_adapt_depth
from posebridge.recipes.depth_adaptation import for_target
from posebridge.recipes.depth_fusion import SMALL
from recipes.small_depth import quick

from bodies.mano_file import write_mano
from data.rendered_depth import UNIT_M, hands, truth_of, write_archive, write_rig
from deployment.depth_hands import predictor
from posebridge import cli
from posebridge.bodies.mano import mano_hand
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record_file import load_record
from posebridge.data.depth_target import DepthTargetConfig
from posebridge.deployment.hand_tracking import HandTracker
from posebridge.deployment.model_file import load_model
from posebridge.deployment.model_kinds import DEPTH_HAND
from posebridge.errors import InputError
from posebridge.training.run import Run
from report.find_sections import section_of, value_of
from training.dots import ONE_CPU

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = ("--accelerator", "cpu", "--precision", "32")


@pytest.fixture(scope="module")
def batch():
    return hands(3)


@pytest.fixture
def small(monkeypatch) -> None:
    sizes = {"small": quick(SMALL)}
    monkeypatch.setattr(depth_fusion, "SIZES", sizes)
    monkeypatch.setattr(adapt_depth, "SIZES", sizes)


def explained(record):
    return section_of(record, "Explained depth").tables


def one_camera(folder, batch, **changes):
    return write_archive(folder / "clip.npz", batch, T_world_cam=None, **changes)


def test_from_one_camera_with_a_truth_to_measure_by(small, batch, tmp_path):
    file = one_camera(tmp_path, batch)
    truth = truth_of(batch, [f"clip-{i}" for i in range(9)])
    truth.save(tmp_path / "truth.npz")
    out = tmp_path / "run"
    record = run_adapt_depth(
        AdaptDepthConfig(DepthTargetConfig(file), domain="studio", truth=tmp_path / "truth.npz"), out, ONE_CPU
    )
    found, meshes = KeypointSet.load(out / "predictions.npz"), np.load(out / "meshes.npz")
    errors = np.linalg.norm(found.xyz_mm - truth.xyz_mm, axis=-1)
    assert record.scores["adapted"].mean_error_mm == pytest.approx(errors.mean(), rel=1e-4)
    apart = np.median(np.linalg.norm(found.xyz_mm - meshes["pixel_joints_mm"], axis=-1).mean(1))
    section = section_of(record, "Explained depth")
    assert value_of(section, "pixel-wise to mesh joints", "adapted") == pytest.approx(apart, rel=1e-3)
    median_mm = np.nanmedian(meshes["depth_error_mm"])
    assert value_of(section, "mesh to surface, median", "adapted") == pytest.approx(median_mm, rel=1e-3)
    assert record.scores["source_only"].mean_error_mm != record.scores["adapted"].mean_error_mm
    assert len(section.picture_rows) == 6
    assert "one camera" in record.notes[0]
    assert [*record.curves] == ["1-single-view", "2-view-fusion", "3-fine-tuning"]
    spec = load_model(out).spec
    assert (spec.method, spec.size_px) == ("multi-view-fusion", 32)
    assert section_of(load_record(out), "Explained depth").tables == section.tables


@pytest.mark.parametrize(("calibrated", "sets", "steps"), [(False, 9, 135), (True, 3, 45), (False, 900, 1200)])
def test_few_moments_are_not_learnt_from_for_long(batch, calibrated, sets, steps):
    """A moment is drawn 150 times at most, ten at a step."""
    frames = batch.unlabelled().take(torch.arange(sets if not calibrated else 9) % 9)
    frames = frames if calibrated else replace(frames, T_world_cam=None)
    size = for_target(SMALL, frames)
    tuning = size.method.fine_tuning
    assert tuning.schedule.steps == steps
    assert (tuning.views, tuning.pseudo_views) == (3, not calibrated)
    assert (tuning.teacher_fitting is not None) == calibrated
    assert size.method.single_view == SMALL.method.single_view


def test_moments_that_fewer_cameras_saw_do_not_count(batch):
    """Of three moments two were seen by three cameras, one by two."""
    frames = batch.unlabelled().take(torch.arange(8))
    tuning = for_target(SMALL, frames).method.fine_tuning
    assert (tuning.views, tuning.schedule.steps) == (3, 30)


def test_done_is_done(small, batch, tmp_path, monkeypatch):
    config = AdaptDepthConfig(DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio")
    first = run_adapt_depth(config, tmp_path / "run", ONE_CPU)

    def trains(*_):
        raise AssertionError("a stage that is done was trained again")

    monkeypatch.setattr(Run, "_fit", trains)
    again = run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert explained(again) == explained(first)
    with pytest.raises(InputError, match="a run of another config"):
        run_adapt_depth(replace(config, seed=1), tmp_path / "run", ONE_CPU)


def test_several_cameras_and_a_model_to_start_from(small, batch, tmp_path):
    first = AdaptDepthConfig(DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio")
    run_adapt_depth(first, tmp_path / "first", ONE_CPU)
    folder = write_rig(tmp_path / "rig", batch)
    config = AdaptDepthConfig(DepthTargetConfig(folder, unit_mm=1000 * UNIT_M), tmp_path / "first", "studio")
    record = run_adapt_depth(config, tmp_path / "second", ONE_CPU)
    assert [*record.curves] == ["1-fine-tuning"]
    assert "3 views of each explain one another" in record.notes[0]
    assert record.scores == {}
    settled = (tmp_path / "second" / "recipe.yaml").read_text()
    assert "pseudo_views: false" in settled
    before = load_model(tmp_path / "first").network
    after = load_model(tmp_path / "second").network
    moved = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert any(moved)


def test_the_target_is_cut_around_what_the_model_sees(small, batch, tmp_path):
    target = DepthTargetConfig(one_camera(tmp_path, batch))
    by_blob = adapt_depth.load_target(target, quick(SMALL))
    run_adapt_depth(AdaptDepthConfig(target, domain="studio"), tmp_path / "run", ONE_CPU)
    loaded = load_model(tmp_path / "run", DEPTH_HAND)
    ours = adapt_depth.DepthHandPredictor(loaded.spec, loaded.network)
    chosen = adapt_depth.look_again(by_blob, target, quick(SMALL), ours)
    assert chosen.dataset.without_images().key == by_blob.dataset.without_images().key
    first = ours(by_blob.dataset.all(), fused=False)
    centre_m, blob_m = (target.dataset.without_images().centre_m for target in (chosen, by_blob))
    joints_m = first.pixel_joints_m.mean(1)
    stayed, moved = ((centre_m - place).norm(dim=1) < 1e-3 for place in (blob_m, joints_m))
    assert (stayed | moved).all()
    assert moved.any()
    explained = ours(chosen.dataset.all(), fused=False).explained_frac
    assert (explained >= first.explained_frac - 1e-3).all()


def test_views_that_would_go_astray_stay_where_they_were(batch, tmp_path, monkeypatch):
    class Astray(HandTracker):
        """Takes another thing for the hand, in the middle view of every moment."""

        def detect(self, frame):
            found = super().detect(frame)
            aside = 0.3 * (frame.view == 1) * torch.tensor([1.0, 0.0, 0.0])
            return replace(found, crop=replace(found.crop, centre_m=found.crop.centre_m + aside))

    monkeypatch.setattr(adapt_depth, "HandTracker", Astray)
    target, size = DepthTargetConfig(write_archive(tmp_path / "clip.npz", batch)), quick(SMALL)
    first = adapt_depth.load_target(target, size)
    again = adapt_depth.look_again(first, target, size, predictor())
    before, after = first.dataset.without_images(), again.dataset.without_images()
    assert after.key == before.key
    astray = before.view == 1
    torch.testing.assert_close(after.centre_m[astray], before.centre_m[astray])
    assert not torch.equal(after.centre_m[~astray], before.centre_m[~astray])


def test_renders_in_the_look_of_the_target(small, batch, tmp_path):
    config = AdaptDepthConfig(DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio", translate=True)
    record = run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert [*record.curves] == ["1-translation", "2-single-view", "3-view-fusion", "4-fine-tuning"]
    plain = run_adapt_depth(replace(config, translate=False), tmp_path / "plain", ONE_CPU)
    assert plain.curves["1-single-view"] != record.curves["2-single-view"]
    again = run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert explained(again) == explained(record)


def test_as_typed_and_resumed(small, batch, tmp_path, capsys):
    depth_m = batch.depth_m.numpy().copy()
    depth_m[4] = 0
    file, out = one_camera(tmp_path, batch, depth_m=depth_m), tmp_path / "run"
    typed = ["adapt", "multi-view-fusion", "--target", str(file), "--out", str(out), "--domain", "studio", *CPU]
    assert cli.main(typed) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"1 frames could not be used; they are listed in {out / 'skipped.json'}"
    assert printed[-1] == f"Meshes: {out / 'meshes.npz'}"
    assert json.loads((out / "skipped.json").read_text())["reasons"] == {"clip-4": "the frame has no depth at all"}
    page = (out / "report.html").read_text()
    assert "Explained depth" in page
    assert "clip-4" in page
    (out / "report.html").unlink()
    assert cli.main(["resume", str(out), *CPU]) == 0
    assert (out / "report.html").exists()


def test_two_stacks_are_trained_and_fine_tuned_again(small, batch, tmp_path):
    config = AdaptDepthConfig(DepthTargetConfig(one_camera(tmp_path, batch)), domain="studio", stacks=2)
    run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert load_model(tmp_path / "run").spec.network.stacks == 2
    further = replace(config, source=tmp_path / "run", stacks=1)
    run_adapt_depth(further, tmp_path / "further", ONE_CPU)
    assert load_model(tmp_path / "further").spec.network.stacks == 2
    with pytest.raises(InputError, match="leave --stacks out"):
        run_adapt_depth(replace(further, stacks=2), tmp_path / "no", ONE_CPU)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--subject", "body"], "leave --subject out: multi-view-fusion reads depth of one hand"),
        (["--boxes", "b.json"], "leave --boxes out"),
        (["--stride", "1", "2"], "leave --stride out"),
        (["--hand", "annotated"], "give left or right"),
        (["--domain", "moon"], "moon is no look of depth: choose studio, street, bare, varied"),
        (["--source", "nowhere"], "nowhere: no such file or folder"),
        (["--truth", "nowhere.npz"], "nowhere.npz does not exist"),
        (["--reach-m", "2", "1"], "two rising distances"),
        (["--depth-unit-mm", "0.1"], "holds its own unit: leave --depth-unit-mm and --depth-encoding out"),
        (["--mano", "nowhere.pkl"], "nowhere.pkl"),
        (["--seed", "-1"], "seed -1 is impossible"),
        (["--workers", "-1"], "-1 workers are impossible"),
        (["--devices", "0"], "0 devices are impossible"),
        (["--reach-m", "2", "3"], "check its unit, or give another range"),
    ],
)
def test_words_that_do_not_fit(small, batch, tmp_path, capsys, flags, message):
    file = one_camera(tmp_path, batch)
    typed = ["adapt", "multi-view-fusion", "--target", str(file), "--out", str(tmp_path / "run"), *flags, *CPU]
    assert cli.main(typed) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": np.array([f"other-{i}" for i in range(9)])}, "shares no key with the target (such as 'clip-0'"),
        ({"joint_names": None, "uv_px": np.zeros((9, 14, 2)), "xyz_mm": None}, "14 joints without names"),
        ({"joint_names": tuple(f"bone-{i}" for i in range(21))}, "no joint of skeleton hand21"),
        ({"uv_px": None}, "the truth has no uv_px and no uvd: give one of them"),
    ],
)
def test_a_truth_that_does_not_fit_is_told_at_once(small, batch, tmp_path, changes, message):
    file = one_camera(tmp_path, batch)
    truth = replace(truth_of(batch, [f"clip-{i}" for i in range(9)]), **changes)
    truth.save(tmp_path / "truth.npz")
    config = AdaptDepthConfig(DepthTargetConfig(file), domain="studio", truth=tmp_path / "truth.npz")
    with pytest.raises(InputError, match=re.escape(message)):
        run_adapt_depth(config, tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_methods_of_colour_refuse_words_on_depth(tmp_path, capsys):
    typed = ["adapt", "mean-teacher", "--target", str(tmp_path), "--out", str(tmp_path / "run")]
    for flags in (["--depth-unit-mm", "0.1"], ["--centres", "c.txt"], ["--reach-m", "0", "1"]):
        assert cli.main([*typed, *flags]) == 2
        assert f"leave {flags[0]} out: it is for depth" in capsys.readouterr().err


def test_manos_hand_from_its_file_to_the_predictions(small, batch, tmp_path, capsys):
    file, mano = one_camera(tmp_path, batch), write_mano(tmp_path / "mano.npz")
    out = tmp_path / "run"
    typed = ["adapt", "multi-view-fusion", "--target", str(file), "--out", str(out), "--domain", "studio", *CPU]
    assert cli.main([*typed, "--mano", str(mano)]) == 0
    vertices = len(mano_hand(mano).rig.vertices_m)
    assert np.load(out / "meshes.npz")["vertices_mm"].shape == (9, vertices, 3)
    assert b"mano" not in (out / "model.safetensors").read_bytes()[:20_000].lower()
    again = ["predict", str(out), str(file), "--out", str(tmp_path / "found"), "--overlays", "0"]
    assert cli.main(again) == 2
    assert "this model gives MANO's hands: give --mano MANO_RIGHT.pkl" in capsys.readouterr().err
    assert cli.main([*again, "--mano", str(mano)]) == 0
    found = np.load(tmp_path / "found" / "meshes.npz")
    assert found["vertices_mm"].shape == (9, vertices, 3)
    # A model of another hand is no start.
    other = ["--source", str(out), "--out", str(tmp_path / "other")]
    assert cli.main([*typed, *other]) == 2
    assert "gives hands of mano, and this run's are those of anny" in capsys.readouterr().err
