"""Pairs of frames of a user's own video: scene cuts and camera motion, notes, and refusals."""

import json
from dataclasses import replace

import cv2
import pytest
import yaml

from data.filmed import film
from data.on_disk import write_image, write_pictures
from experiments.refusals import refused
from experiments.small_runs import ONE_CPU
from posebridge.contracts.record_file import load_record
from posebridge.data.pairs import PairConfig
from posebridge.data.target import TargetConfig
from posebridge.experiments.adapt import run_adapt
from posebridge.experiments.configs import AdaptConfig
from posebridge.presets.table import find_preset

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


def _config(path, method="geometric-reconstruction", stride=(5, 15), **target) -> AdaptConfig:
    return AdaptConfig(
        method=method, target=TargetConfig(path, **target), source="renders", domain="studio", stride=stride
    )


def _recipe(folder) -> dict:
    (method,) = yaml.safe_load((folder / "recipe.yaml").read_text())["recipe"]["methods"].values()
    return method


def test_video_with_a_cut_and_a_moving_camera(adapted, tmp_path, capsys):
    """A given model spares the training of one; the run reconstructs pairs of each shot before a moving background."""
    write_pictures(tmp_path / "clip.mp4", film(0, 16) + film(1, 16, pan_px=1.0))
    config = AdaptConfig(
        method="geometric-reconstruction",
        target=TargetConfig(tmp_path / "clip.mp4"),
        source=adapted[0],
        domain="studio",
        stride=(4, 8),
    )
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    cut, motion, done = record.notes
    assert cut == "1 scene cut found, before clip_000016: no pair of frames lies across a cut"
    assert motion.startswith("the camera moves in 1 of 2 sequences, by 3 % of the crop's side")
    assert done == "reconstructed frames therefore have a background that moves by a predicted affine map"
    assert capsys.readouterr().out.splitlines() == [cut, motion, done]
    assert load_record(tmp_path / "run").notes == record.notes
    found = json.loads((tmp_path / "run" / "sequences.json").read_text())
    assert found["scene_cuts_before"] == ["clip_000016"]
    assert set(found["camera_motion"]) == {"clip#1", "clip#2"}
    assert list(record.curves) == ["1-warm-start", "2-reconstructor", "3-fine-tuning"]
    assert record.curves["3-fine-tuning"]["reconstruction"][-1][1] > 0
    assert record.method == "geometric-reconstruction"
    reconstruction = _recipe(tmp_path / "run")["reconstruction"]
    assert reconstruction["reconstructor"]["warping"]["background"] == "affine"
    assert reconstruction["pairs"]["stride"] == [4, 8]
    # The reconstructor learns from videos of the source as well, whose hands have true joints.
    assert record.curves["2-reconstructor"]["source_reconstruction"][-1][1] > 0


def test_static_camera_and_files_by_name(adapted, tmp_path):
    for i, picture in enumerate(film(3, 12)):
        path = tmp_path / "all" / f"walk_{3 * i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture)
    config = _config(tmp_path / "all", stride=(6, 9), sequence_by="name")
    record = run_adapt(AdaptConfig(**{**vars(config), "source": adapted[0]}), tmp_path / "run", ONE_CPU)
    assert record.notes == ()
    reconstruction = _recipe(tmp_path / "run")["reconstruction"]
    assert reconstruction["reconstructor"]["warping"]["background"] == "static"


def test_pseudo_labels_alone_need_no_pairs(adapted, target, tmp_path):
    config = AdaptConfig(
        method="integrated-pseudo-labels", target=TargetConfig(target.images), source=adapted[0], domain="studio"
    )
    record = run_adapt(config, tmp_path / "run", ONE_CPU)
    assert list(record.curves) == ["1-warm-start", "2-fine-tuning"]
    assert record.notes == ()
    assert not (tmp_path / "run" / "sequences.json").exists()
    assert _recipe(tmp_path / "run")["reconstruction"] is None


@pytest.mark.parametrize(
    ("pictures", "options", "found"),
    [
        (film(0, 1), {}, "there is one frame"),
        (film(0, 4), {}, "there are 4 frames"),
        (film(0, 4) + film(1, 4) + film(2, 5), {}, "the longest of 3 sequences has 5 frames after 2 cuts"),
        (film(0, 41), {"every": 20}, "there are 3 frames, every 20th one"),
    ],
    ids=["one frame", "short", "cuts", "thinned"],
)
def test_videos_without_pairs_are_refused_with_a_way_out(tmp_path, pictures, options, found):
    write_pictures(tmp_path / "clip.mp4", pictures)
    line = refused(run_adapt, _config(tmp_path / "clip.mp4", **options), tmp_path / "run")
    assert line == (
        f"{tmp_path / 'clip.mp4'}: no two frames of one sequence are 5 to 15 frames apart: {found}; give videos, a "
        "folder of images for each sequence or another --stride, or adapt by integrated-pseudo-labels, which needs "
        "no pairs"
    )


def test_photos_are_refused_with_a_way_out(tmp_path):
    write_image(tmp_path / "one.png")
    assert "there is one frame" in refused(run_adapt, _config(tmp_path / "one.png"), tmp_path / "run")
    for seed in range(20):
        path = tmp_path / "photos" / f"{seed:02d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), film(seed, 1)[0])
    line = refused(run_adapt, _config(tmp_path / "photos"), tmp_path / "run")
    assert "the 20 photos don't follow one another" in line
    assert "integrated-pseudo-labels" in line


def test_stride_that_is_no_range(tmp_path):
    write_pictures(tmp_path / "clip.mp4", film(0, 20))
    assert "is not a range" in refused(run_adapt, _config(tmp_path / "clip.mp4", stride=(8, 3)), tmp_path / "run")


@pytest.mark.parametrize("subject", ["hand", "body"])
def test_recipe_holds_what_its_method_needs(subject, adapted, target, tmp_path):
    """Configs of other methods aren't part of a run's recipe, so that it can be resumed when they change."""
    preset, pairs = find_preset(f"adapt/{subject}", "small", "mean-teacher"), PairConfig((1, 2))
    assert [*preset.keeping("mean-teacher").methods] == ["mean-teacher"]
    assert preset.methods["integrated-pseudo-labels"].reconstruction is None
    whole = preset.methods["geometric-reconstruction"].with_pairs(pairs)
    assert whole.target_pairs == whole.reconstruction.pairs == pairs
    assert [name for name, config in preset.methods.items() if config.source_videos] == ["geometric-reconstruction"]
    still = preset.methods["integrated-pseudo-labels"]
    assert still.with_moving_camera() == still.with_pairs(pairs) == still
    assert still.target_pairs is None
    recipe = yaml.safe_load((adapted[0] / "recipe.yaml").read_text())["recipe"]
    assert [*recipe["methods"]] == ["mean-teacher"]


@pytest.mark.parametrize("method", ["mean-teacher", "integrated-pseudo-labels", "geometric-reconstruction"])
def test_missing_feature_weights(method, tmp_path):
    """Before anything is rendered; and a run can do without."""
    write_pictures(tmp_path / "clip.mp4", film(0, 20))
    config = AdaptConfig(
        method=method,
        target=TargetConfig(tmp_path / "clip.mp4"),
        preset="full",
        feature_weights=str(tmp_path / "vgg.pth"),
    )
    assert str(tmp_path / "vgg.pth") in refused(run_adapt, config, tmp_path / "run")
    full = find_preset("adapt/hand", "full", method)
    assert full.methods[method].feature_networks()
    assert full.with_weights(None, "none").methods[method].feature_networks() == ()
    assert full.methods["source-only"].feature_networks() == ()


def test_missing_or_unused_encoder_weights(adapted, tmp_path):
    write_pictures(tmp_path / "clip.mp4", film(0, 20))
    config = _config(tmp_path / "clip.mp4")
    lost = replace(config, encoder_weights=str(tmp_path / "encoder.pth"))
    assert str(tmp_path / "encoder.pth") in refused(run_adapt, lost, tmp_path / "run")
    both = replace(lost, source=adapted[0])
    assert "brings its own encoder" in refused(run_adapt, both, tmp_path / "run")


def test_cuts_do_not_matter_without_pairs(adapted, tmp_path):
    """Methods that take single frames accept unrelated photos and scene cuts."""
    write_pictures(tmp_path / "clip.mp4", film(0, 3) + film(1, 3))
    config = AdaptConfig(
        method="source-only", target=TargetConfig(tmp_path / "clip.mp4"), source=adapted[0], domain="studio"
    )
    assert run_adapt(config, tmp_path / "run", ONE_CPU).notes == ()
