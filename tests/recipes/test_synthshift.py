"""One cell of the benchmark, of each track: what is compared with what, on which data."""

from collections import Counter

import numpy as np
import pytest
import torch
import yaml

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.pairs import PairConfig, pairs_of
from posebridge.errors import InputError
from posebridge.recipes import synthshift
from posebridge.recipes.annotation_gap import gap_left
from posebridge.recipes.synthshift import TRACKS, SynthShiftConfig, make_context, run_synthshift
from posebridge.recipes.track import TrackRenderer
from recipes.small_runs import ONE_CPU, SMALL_BODY_RGB, SMALL_HAND_DEPTH, SMALL_HAND_RGB, shrink
from report.find_sections import titles, value_of

SIZES = {"hand-rgb": SMALL_HAND_RGB, "body-rgb": SMALL_BODY_RGB, "hand-depth": SMALL_HAND_DEPTH}
ROLES = ("source_only", "adapted", "supervised_target")


@pytest.fixture(scope="module")
def sets():
    """The rendered sets of seed 0, by track."""
    return {track: TrackRenderer(TRACKS[track], size).data(0) for track, size in SIZES.items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run of each track, by track."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield {
            track: (folder / track, run_synthshift(SynthShiftConfig(track), folder / track, ONE_CPU)) for track in SIZES
        }


@pytest.mark.parametrize("track", SIZES)
def test_sets(sets, track):
    data, told = sets[track], []
    again = TrackRenderer(TRACKS[track], SIZES[track], on_progress=told.append).data(0)
    assert sum(told) == 66 + 48 + 24 + 24
    assert len(data.source) == 66
    assert len(data.target) == len(data.target_labelled) == 48
    assert type(data.target.all()) is UnlabelledBatch
    assert torch.equal(data.target.all().rgb, data.target_labelled.all().rgb)
    assert torch.equal(again.test_target.rgb, data.test_target.rgb)
    parts = (data.source.all(), data.target.all(), data.test_source, data.test_target)
    domains = [{key.split("-")[0] for key in part.key} for part in parts]
    assert domains == [{"studio"}, {"street"}, {"studio"}, {"street"}]
    keys = [key for part in parts for key in part.key]
    assert len(set(keys)) == len(keys)  # what is scored was never trained on
    assert all(part.depth_m is None for part in parts)
    labels = (data.source.all(), data.test_target)
    assert all(part.mask is part.hand_mask is part.depth_label_m is part.vertices_m is None for part in labels)
    assert data.test_target.joints_m.shape[1] == len(TRACKS[track].skeleton)


@pytest.mark.parametrize("track", ["hand-rgb", "hand-depth"])
def test_sets_from_disk_are_the_same(sets, track, tmp_path):
    """Written as shards and read back, and read again without rendering."""
    first = TrackRenderer(TRACKS[track], SIZES[track], tmp_path).data(0)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    assert len(written) == 4
    again = TrackRenderer(TRACKS[track], SIZES[track], tmp_path).data(0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == written
    for data in (first, again):
        ours, theirs = data.target_labelled.all(), sets[track].target_labelled.all()
        assert ours.key == theirs.key
        assert torch.equal(ours.uv_px, theirs.uv_px)
        # Depth is stored in steps of 0.1 mm, a step of the picture is 1 mm.
        assert (ours.rgb - theirs.rgb).abs().max() <= (1.01 / 255 if track == "hand-depth" else 0)


@pytest.mark.parametrize("track", ["hand-rgb", "body-rgb"])
def test_colour_tracks_have_videos_that_give_pairs(sets, track):
    renderer = TrackRenderer(TRACKS[track], SIZES[track])
    videos = renderer.videos(0).all()
    assert Counter(videos.sequence) == dict.fromkeys(("street-1-000000", "street-1-000001"), 24)
    assert len(pairs_of(videos, PairConfig())) == 48
    assert sets[track].target.all().sequence is None
    data = renderer.data(0, "videos")
    assert type(data.target.all()) is UnlabelledBatch
    assert data.target.all().key == videos.key
    assert set(data.source_videos.all().key).isdisjoint(data.source.all().key)
    assert data.bound_labelled.all().key == sets[track].target_labelled.all().key


def test_the_depth_track_has_no_videos():
    with pytest.raises(InputError, match=r"^track hand-depth has no videos"):
        TrackRenderer(TRACKS["hand-depth"], SMALL_HAND_DEPTH).videos(0)


def test_depth_targets_are_sets_of_three_views(sets):
    target = sets["hand-depth"].target.all()
    assert target.view.tolist() == [0, 1, 2] * 16
    assert len(set(target.sequence)) == 16
    assert target.T_world_cam is not None
    assert target.centre_m is not None


def test_seeds_share_the_test_set_alone(sets):
    data, other = sets["hand-rgb"], TrackRenderer(TRACKS["hand-rgb"], SMALL_HAND_RGB).data(1)
    assert torch.equal(other.test_target.rgb, data.test_target.rgb)
    assert not set(other.target.all().key) & set(data.target.all().key)
    assert not set(other.source.all().key) & set(data.source.all().key)


@pytest.mark.parametrize("track", SIZES)
def test_methods_see_no_label_of_the_target(sets, track):
    context = make_context(TRACKS[track], SIZES[track], sets[track], 0, ONE_CPU)
    assert type(context.target(8).batch(0)) is UnlabelledBatch
    assert type(context.source(8).batch(0)) is LabelledBatch
    first, second = context.new_network(), context.new_network()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("track", SIZES)
def test_a_row_of_the_table(runs, track):
    folder, outcome = runs[track]
    row = outcome.row()
    gaps = [f"gap_left_{role}" for role in ROLES]
    assert [*row] == ["track", "method", "seed", "metric", *ROLES, "gap_closed", "minutes", "source_on_source", *gaps]
    assert (row["track"], row["method"], row["seed"]) == (track, "mean_teacher", 0)
    assert all(np.isfinite(row[role]) for role in (*ROLES, "source_on_source"))
    scores = outcome.record.scores
    if track == "hand-depth":
        assert row["metric"] == "mean_error_mm"
        assert row["adapted"] == scores["adapted"].mean_error_mm
        assert scores["adapted"].alignment == "none"
    else:
        assert row["metric"] == "pck_005"
        assert row["adapted"] == scores["adapted"].pck_005
    assert (folder / "record.json").is_file()
    assert not (folder / "report.html").exists()
    assert scores["adapted"].n_frames == 24
    assert outcome.record.provenance.checkpoint.oracle is not None


def test_another_config_is_refused(runs, small_sizes):
    with pytest.raises(InputError, match="holds a run of another config"):
        run_synthshift(SynthShiftConfig(seed=1), runs["hand-rgb"][0], ONE_CPU)


def test_the_record_s_gallery_is_of_the_test_set(runs, sets):
    test = sets["hand-rgb"].test_target
    for frame in runs["hand-rgb"][1].record.gallery:
        row = test.key.index(frame.key)
        np.testing.assert_allclose(frame.uv_truth, test.uv_px[row].numpy(), atol=1e-4)


@pytest.mark.parametrize("track", ["hand-rgb", "body-rgb"])
def test_geometric_reconstruction(track, tmp_path, monkeypatch):
    """Of videos, with bounds that are shared, and with the evidence of what it did."""
    shrink(monkeypatch)
    bounds = tmp_path / "bounds"
    alone = SynthShiftConfig(track, "integrated_pseudo_labels", footage="videos", bounds=bounds)
    whole = SynthShiftConfig(track, "geometric_reconstruction", footage="videos", bounds=bounds)
    lone = run_synthshift(alone, tmp_path / "alone", ONE_CPU)
    written = (bounds / "stages/1-source/result.safetensors").stat().st_mtime_ns
    outcome = run_synthshift(whole, tmp_path / "whole", ONE_CPU)
    assert (bounds / "stages/1-source/result.safetensors").stat().st_mtime_ns == written  # trained once
    for role in ("source_only", "supervised_target"):
        assert outcome.record.scores[role] == lone.record.scores[role]
    stages = sorted(folder.name for folder in (tmp_path / "whole/stages").iterdir())
    assert stages == ["3-warm-start", "4-reconstructor", "5-fine-tuning"]
    assert titles(outcome.record) == ["Reconstructed frames", "Trusted joints", "Pseudo-labels"]
    assert len(outcome.record.sections[0].picture_rows) == 6
    assert value_of(outcome.record.sections[1], "joints", "All") > 0
    assert titles(lone.record) == ["Pseudo-labels"]
    groups = TRACKS[track].skeleton.groups
    assert outcome.groups("adapted").keys() >= {f"PCK {name}" for name in groups}


def test_of_videos_a_mean_teacher_sees_as_much_as_the_others(tmp_path, monkeypatch):
    shrink(monkeypatch)
    outcome = run_synthshift(SynthShiftConfig(footage="videos"), tmp_path, ONE_CPU)
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["recipe"]
    assert SMALL_HAND_RGB.geometric_reconstruction is not None
    alone = SMALL_HAND_RGB.geometric_reconstruction.without_reconstruction()
    assert recipe["mean_teacher"]["schedule"]["steps"] == alone.schedule.steps
    assert recipe["mean_teacher"]["batch_size"] == alone.batch_size
    assert outcome.record.provenance.checkpoint.candidates[-1].step == alone.schedule.steps


def test_a_planted_gap_is_in_all_that_the_source_labels(tmp_path, monkeypatch):
    shrink(monkeypatch)
    made, used = synthshift.make_context, []
    monkeypatch.setattr(synthshift, "make_context", lambda *given: used.append(given[2]) or made(*given))
    config = SynthShiftConfig("body-rgb", "geometric_reconstruction", footage="videos", annotation_gap=0.35)
    outcome = run_synthshift(config, tmp_path, ONE_CPU)
    assert outcome.gap_left.keys() == set(ROLES)
    plan = TRACKS["body-rgb"]
    plain = TrackRenderer(plan, SMALL_BODY_RGB).data(0, "videos")
    for name in ("source", "source_videos"):
        labelled = getattr(used[0], name).all()
        assert gap_left(labelled.uv_px, getattr(plain, name).all(), plan.skeleton) == pytest.approx(0.35, abs=0.02)
    for name in ("target_labelled", "bound_labelled"):
        assert torch.equal(getattr(used[0], name).all().uv_px, getattr(plain, name).all().uv_px)
    assert torch.equal(used[0].test_target.uv_px, plain.test_target.uv_px)


def test_footage_that_a_method_can_not_use(tmp_path):
    for config, message in (
        (SynthShiftConfig(method="geometric_reconstruction"), "needs pairs of frames: give --footage videos"),
        (SynthShiftConfig("hand-depth", "geometric_reconstruction"), "track hand-depth has none"),
    ):
        with pytest.raises(InputError, match=message):
            run_synthshift(config, tmp_path, ONE_CPU)
