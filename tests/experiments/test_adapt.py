"""Adaptation to a user's images and videos, end to end, at a size that trains in a second."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from data.on_disk import truncate, write_image, write_video
from deployment.rigged import SMALL, SPEC, small_model
from experiments.refusals import refused
from experiments.small_runs import FRAMES, HEIGHT, ONE_CPU, SIDE, WIDTH
from posebridge.contracts.batch import LabelledBatch
from posebridge.contracts.config_file import load_config
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record_file import load_record
from posebridge.data.in_memory import InMemoryDataset
from posebridge.data.target import TargetConfig
from posebridge.deployment.model_file import load_model
from posebridge.deployment.plausible_predictions import implausible_frames
from posebridge.errors import InputError
from posebridge.experiments import runner
from posebridge.experiments.adapt import _measured, run_adapt
from posebridge.experiments.configs import AdaptConfig
from posebridge.experiments.kinds import run_and_summarise
from posebridge.skeletons.hand import HAND21
from report.find_sections import section_of, series_of

pytestmark = pytest.mark.usefixtures("small_sizes")


def _config(path, method="source-only", hand=None, **options) -> AdaptConfig:
    given = {"source": "renders", "domain": "studio"} | options
    return AdaptConfig(method=method, target=TargetConfig(path, hand=hand), **given)


def test_files_of_a_run(adapted):
    folder, record = adapted
    for name in (
        "config.yaml",
        "environment.json",
        "model.safetensors",
        "model.json",
        "predictions.npz",
        "report.html",
    ):
        assert (folder / name).is_file(), name
    for stage in ("1-source", "2-mean-teacher"):
        left = {file.name for file in (folder / "stages" / stage).iterdir()}
        assert {"result.safetensors", "metrics.csv", "stage.json"} <= left
        assert "last.ckpt" not in left
    assert load_record(folder).provenance == record.provenance
    assert set(record.curves) == {"1-source", "2-mean-teacher"}
    assert record.curves["1-source"]["loss"][-1][0] == 12
    spec = load_model(folder).spec
    assert (spec.size_px, spec.method) == (SIDE, "mean-teacher")
    assert 0.05 < spec.reference_length_m < 0.15  # a hand's


def test_broken_files_are_listed(adapted, target):
    folder, record = adapted
    found = KeypointSet.load(folder / "predictions.npz")
    assert found.key.tolist() == [f"frame_{i:02d}" for i in range(FRAMES)]
    assert found.joint_names == HAND21.joints
    assert np.isfinite(found.uv_px).all()
    assert np.isfinite(found.xyz_mm).all()
    broken = str(target.images / "frame_50.jpg")
    assert [skipped.file for skipped in record.skipped] == [broken]
    listed = json.loads((folder / "skipped.json").read_text())
    assert listed["reasons"].keys() == {broken}
    # A network of 21 steps predicts some hands of an impossible size.
    assert listed.get("warnings", {}) == implausible_frames(found, HAND21)


def test_implausible_predictions_are_listed(target, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "reference_length", lambda *_: torch.full((1,), 50.0))  # metres
    lines = run_and_summarise(_config(target.images), tmp_path / "run", ONE_CPU)
    listed = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert [*listed["warnings"]] == KeypointSet.load(tmp_path / "run" / "predictions.npz").key.tolist()
    assert "across a hand's joints, expected 20 to 500 mm" in listed["warnings"]["frame_03"]
    assert (listed["used"], [*listed["reasons"]]) == (FRAMES, [str(target.images / "frame_50.jpg")])
    line = f"warning: {FRAMES} of {FRAMES} predictions have no possible size (listed in {tmp_path}/run/skipped.json)"
    assert lines[0].startswith(line)
    assert load_record(tmp_path / "run").warnings == (lines[0],)
    assert line in (tmp_path / "run" / "report.html").read_text()


def test_predictions_are_in_pixels_of_the_files(adapted):
    """The crop is the oblong image in a square: the same joints, in crop and file, are a scale and a shift apart."""
    folder, record = adapted
    found = KeypointSet.load(folder / "predictions.npz")
    assert len(record.gallery) >= 3
    for frame in record.gallery:
        u, v = ((frame.uv_pred + 0.5) * WIDTH / SIDE - 0.5).T
        in_file = np.stack([u, v - (WIDTH - HEIGHT) / 2], axis=-1)
        row = found.key.tolist().index(frame.key)
        np.testing.assert_allclose(found.uv_px[row], in_file, atol=1e-3)


def test_scores_of_the_predictions(adapted, target):
    folder, record = adapted
    assert set(record.scores) == {"source_only", "adapted"}
    score = record.scores["adapted"]
    assert score.n_frames == FRAMES - 1  # the truth lacks one
    found = KeypointSet.load(folder / "predictions.npz")
    apart = np.linalg.norm(found.uv_px - target.labels.uv_px, axis=-1)[1:, :20]
    assert score.pck_005 == pytest.approx((apart < 0.05 * WIDTH).mean(), abs=1e-6)
    assert score.mean_error_px == pytest.approx(apart.mean(), rel=1e-4)


def test_gallery_shows_the_truth_in_our_order(adapted, target):
    _, record = adapted
    for frame in record.gallery:
        row = target.labels.key.tolist().index(frame.key)
        u, v = target.labels.uv_px[row].T
        in_crop = (np.stack([u, v + (WIDTH - HEIGHT) / 2], axis=-1) + 0.5) * SIDE / WIDTH - 0.5
        np.testing.assert_allclose(frame.uv_truth[:20], in_crop[:20], atol=1e-3)
        assert np.isnan(frame.uv_truth[20]).all()  # the truth lacks that joint


def test_oracle_stands_beside_the_choice(adapted):
    _, record = adapted
    choice = record.provenance.checkpoint
    assert [candidate.step for candidate in choice.candidates] == [0, 3, 6, 9]
    best = max(choice.candidates, key=lambda candidate: candidate.score)
    assert choice.step == max(c.step for c in choice.candidates if c.score == best.score)
    assert choice.oracle is not None
    assert choice.oracle_at_choice <= choice.oracle.score
    labels = section_of(record, "Pseudo-labels")
    assert len(series_of(labels, "precision")) == 4
    assert all(0 <= precision <= 1 for precision in series_of(labels, "precision"))
    # PseudoLabeller keeps the 60 % most confident joints.
    assert series_of(labels, "coverage") == pytest.approx([0.6] * 4, abs=0.01)


def test_truth_does_not_change_the_model(adapted, target, tmp_path):
    folder, _ = adapted
    record = run_adapt(_config(target.images, "mean-teacher"), tmp_path / "run", ONE_CPU)
    assert record.scores == {}
    assert record.provenance.checkpoint.oracle is None
    labels = section_of(record, "Pseudo-labels")
    assert len(series_of(labels, "coverage")) == 4
    assert series_of(labels, "precision") == []
    assert all(frame.kind == "sample" and frame.uv_truth is None for frame in record.gallery)
    with_truth, without = (KeypointSet.load(run / "predictions.npz") for run in (folder, tmp_path / "run"))
    np.testing.assert_array_equal(with_truth.uv_px, without.uv_px)


def test_second_call_trains_nothing(adapted, target, tmp_path):
    config = _config(target.images)
    first = run_adapt(config, tmp_path / "run", ONE_CPU)
    weights = tmp_path / "run" / "stages" / "1-source" / "result.safetensors"
    before = weights.stat().st_mtime_ns
    numbers = KeypointSet.load(tmp_path / "run" / "predictions.npz").uv_px
    second = run_adapt(config, tmp_path / "run", ONE_CPU)
    assert weights.stat().st_mtime_ns == before
    np.testing.assert_array_equal(KeypointSet.load(tmp_path / "run" / "predictions.npz").uv_px, numbers)
    assert second.curves == first.curves
    assert set(first.curves) == {"1-source"}
    assert first.provenance.checkpoint is None


def test_config_and_recipe_may_lack_fields(target, tmp_path):
    """Fields that were added since have their defaults."""
    run_adapt(_config(target.images), tmp_path / "run", ONE_CPU)
    for name, added in (("config.yaml", {"adapt": ("subject", "stride")}), ("recipe.yaml", {"recipe": ("space_mb",)})):
        path = tmp_path / "run" / name
        content = yaml.safe_load(path.read_text())
        for kind, fields in added.items():
            for field in fields:
                del content[kind][field]
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    kind, config = load_config(tmp_path / "run" / "config.yaml", {"adapt": AdaptConfig})
    assert (kind, config) == ("adapt", _config(target.images))
    run_adapt(config, tmp_path / "run", ONE_CPU)


def test_left_hands_are_mirrored_and_back(adapted, tmp_path):
    for i in range(3):
        image = write_image(tmp_path / "right" / f"{i}.png", 33, 47, seed=i)
        (tmp_path / "left").mkdir(exist_ok=True)
        Image.fromarray(image[:, ::-1].copy()).save(tmp_path / "left" / f"{i}.png")
    found = {}
    for hand in ("right", "left"):
        config = _config(tmp_path / hand, hand=hand, source=adapted[0])
        run_adapt(config, tmp_path / f"run-{hand}", ONE_CPU)
        found[hand] = KeypointSet.load(tmp_path / f"run-{hand}" / "predictions.npz")
    mirrored = found["left"].uv_px * [-1, 1] + [32, 0]
    np.testing.assert_allclose(mirrored, found["right"].uv_px, atol=1e-3)
    np.testing.assert_allclose(found["left"].xyz_mm * [-1, 1, 1], found["right"].xyz_mm, atol=0.1)


def test_given_model_on_a_video(adapted, tmp_path):
    write_video(tmp_path / "clip.mp4", frames=10)
    target = TargetConfig(tmp_path / "clip.mp4", every=2, intrinsics_px=(80.0, 80.0, 31.5, 23.5))
    config = AdaptConfig(method="mean-teacher", target=target, source=adapted[0] / "model.safetensors", domain="studio")
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    found = KeypointSet.load(tmp_path / "run" / "predictions.npz")
    assert found.key.tolist() == [f"clip_{i:06d}" for i in range(0, 10, 2)]
    assert {folder.name for folder in (tmp_path / "run" / "stages").iterdir()} == {"1-mean-teacher"}
    assert set(record.curves) == {"1-mean-teacher"}
    u = 80 * found.xyz_mm[..., 0] / found.xyz_mm[..., 2] + 31.5
    np.testing.assert_allclose(u, found.uv_px[..., 0], atol=0.05)  # with intrinsics, joints are in the camera's frame


def test_given_model_keeps_its_reference_length(target, tmp_path):
    """Its depths are in units of that length, so poses in millimetres don't depend on the new renders."""
    given = replace(SPEC, size_px=SIDE, reference_length_m=0.2)
    small_model(tmp_path / "model", given)
    run_adapt(_config(target.images, source=tmp_path / "model"), tmp_path / "run", ONE_CPU)
    spec = load_model(tmp_path / "run").spec
    assert (spec.reference_length_m, spec.maps, spec.network) == (0.2, given.maps, given.network)


def test_given_model_with_source_only_stays(adapted, target, tmp_path):
    config = _config(target.images, source=adapted[0], truth=target.truth)
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    before, after = (KeypointSet.load(run / "predictions.npz") for run in (adapted[0], tmp_path / "run"))
    np.testing.assert_allclose(after.uv_px, before.uv_px, atol=1e-3)
    assert set(record.scores) == {"source_only"}
    assert record.curves == {}


def test_models_that_do_not_fit(target, tmp_path):
    body = replace(SPEC, skeleton="coco17", network=replace(SMALL, joints=17))
    small_model(tmp_path / "body", body)
    assert "predicts coco17" in refused(run_adapt, _config(target.images, source=tmp_path / "body"), tmp_path / "run")
    message = refused(run_adapt, _config(target.images, source=tmp_path / "absent"), tmp_path / "run")
    assert "no such file or folder" in message
    small_model(tmp_path / "depth", replace(SPEC, maps=replace(SPEC.maps, cube_m=0.25)))
    message = refused(run_adapt, _config(target.images, source=tmp_path / "depth"), tmp_path / "run")
    assert "takes depth, and this run trains on colour" in message


def test_targets_that_hold_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no image and no video" in refused(run_adapt, _config(tmp_path / "empty"), tmp_path / "run")
    assert "no such file or folder" in refused(run_adapt, _config(tmp_path / "absent"), tmp_path / "run")
    write_video(tmp_path / "clip.mp4")
    truncate(tmp_path / "clip.mp4", 0.3)
    assert "clip.mp4" in refused(run_adapt, _config(tmp_path / "clip.mp4"), tmp_path / "run")
    write_image(tmp_path / "broken" / "0.jpg")
    truncate(tmp_path / "broken" / "0.jpg", 0.1)
    assert "broken" in refused(run_adapt, _config(tmp_path / "broken"), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": "moon"}, "no domain 'moon': choose one of studio"),
        ({"method": "magic"}, "no method 'magic': choose source-only"),
        ({"method": "multi-view-fusion"}, "method multi-view-fusion takes depth, and the target of adapt is colour"),
        ({"method": "supervised-target"}, "has no method supervised-target: choose source-only"),
        ({"preset": "huge"}, "no preset 'huge': choose small, full"),
        ({"truth": Path("nowhere.npz")}, "nowhere.npz does not exist"),
    ],
)
def test_values_that_there_are_not(target, tmp_path, changes, message):
    assert message in refused(run_adapt, replace(_config(target.images), **changes), tmp_path / "run")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"key": np.array(["other"]), "uv_px": np.zeros((1, 21, 2))}, "shares no key with the target"),
        ({"key": np.array(["frame_00"]), "uv_px": np.zeros((1, 17, 2))}, "17 joints without names"),
        ({"key": np.array(["frame_00"]), "xyz_mm": np.zeros((1, 21, 3))}, "no uv_px"),
        (
            {"key": np.array(["frame_00"]), "uv_px": np.zeros((1, 1, 2)), "joint_names": ("nose",)},
            "no joint of skeleton",
        ),
    ],
    ids=["keys", "joints", "space", "names"],
)
def test_truth_that_does_not_fit(target, tmp_path, truth, message):
    KeypointSet(**truth).save(tmp_path / "truth.npz")
    assert message in refused(run_adapt, _config(target.images, truth=tmp_path / "truth.npz"), tmp_path / "run")


def test_folders_that_can_not_be_used(adapted, target, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused(run_adapt, _config(target.images), tmp_path / "file")
    with pytest.raises(InputError, match="holds a run of another config"):
        run_adapt(_config(target.images), adapted[0], ONE_CPU)
    with pytest.raises(InputError, match="holds a run of another config"):  # before the target is read
        run_adapt(_config(tmp_path / "absent"), adapted[0], ONE_CPU)


def test_names_that_are_not_utf8_and_orientations(adapted, target, tmp_path, capsys):
    """Names and notes reach every output of a run, and its config is read again."""
    images = tmp_path / os.fsdecode(b"Mu\xf1oz")
    images.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(target.images / "frame_00.png") as photo:
        for name in (b"ni\xf1o", b"b", b"c"):
            photo.save(images / os.fsdecode(name + b".jpg"), exif=exif)
    (images / os.fsdecode(b"\xff.png")).touch()
    config = _config(images, source=adapted[0])
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    assert KeypointSet.load(tmp_path / "run" / "predictions.npz").key.tolist() == ["b", "c", os.fsdecode(b"ni\xf1o")]
    assert [skipped.file for skipped in load_record(tmp_path / "run").skipped] == [
        skipped.file for skipped in record.skipped
    ]
    assert r"Mu\xf1oz/\xff.png" in (tmp_path / "run" / "report.html").read_text()
    assert load_config(tmp_path / "run" / "config.yaml", {"adapt": AdaptConfig})[1] == config
    assert "3 files carry an orientation" in capsys.readouterr().out


def test_trusted_joints_are_measured_on_labelled_frames():
    """Of a few frames all are measured; of many, at most 512 of those that have a label."""
    labelled = torch.zeros(2600, 21, dtype=torch.bool)
    labelled[::2, 3] = True
    batch = LabelledBatch(torch.zeros(2600, 3, 1, 1), tuple(map(str, range(2600))), valid=labelled)
    keys = [int(key) for key in _measured(InMemoryDataset.of_batch(batch)).key]
    assert len(keys) == 512
    assert {*np.diff(keys)} == {4, 6}  # every second or third frame with a label
    assert (keys[0], keys[-1]) == (0, 2598)
    few = InMemoryDataset.of_batch(batch[:512])
    assert _measured(few).key == batch.key[:512]
