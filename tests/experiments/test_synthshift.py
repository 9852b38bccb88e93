"""One cell of SynthShift, of each track: the rendered sets, what methods receive, and the row of the table."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from experiments.small_runs import ONE_CPU, preset_of, shrink, shrunk
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.data.annotation_gap import residual_gap
from posebridge.data.pairs import PairConfig, pairs_of
from posebridge.errors import InputError
from posebridge.experiments import synthshift
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.runner import experiment_context
from posebridge.experiments.synthshift import run_synthshift, synthshift_data, synthshift_experiment
from posebridge.experiments.synthshift_sets import SynthShiftSets, render_sets
from posebridge.experiments.tracks import TRACKS
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.presets.preset import Preset
from posebridge.presets.table import find_preset
from report.find_sections import titles, value_of

ROLES = ("source_only", "adapted", "supervised_target")
PRESETS = {track: shrunk(preset_of(f"synthshift/{track}")) for track in TRACKS}

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


def rendered(config: SynthShiftConfig) -> SynthShiftSets:
    experiment = synthshift_experiment(config, ONE_CPU)
    return render_sets(config, experiment.preset, experiment.method)


@pytest.fixture(scope="module")
def sets():
    """The rendered sets of seed 0, by track."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return {track: rendered(SynthShiftConfig(track)) for track in TRACKS}


@pytest.fixture(scope="module")
def videos():
    """The rendered sets of seed 0 of the colour tracks, with videos."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return {track: rendered(SynthShiftConfig(track, target_frames="videos")) for track in ("hand-rgb", "body-rgb")}


@pytest.fixture(scope="module")
def runs(sets, tmp_path_factory):
    """A finished run of each track, by track."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return {
            track: (
                folder / track,
                run_synthshift(SynthShiftConfig(track), folder / track, ONE_CPU, sets=sets[track]),
            )
            for track in TRACKS
        }


@pytest.mark.parametrize("track", TRACKS)
def test_sets(sets, track, monkeypatch):
    counted = []
    monkeypatch.setattr("posebridge.experiments.renders.tqdm.update", lambda bar, count: counted.append(count))
    data, again = sets[track], rendered(SynthShiftConfig(track))
    assert sum(counted) == 66 + 48 + 24 + 24
    target = synthshift_data(SynthShiftConfig(track), PRESETS[track], data).target.dataset
    assert len(data.source) == 66
    assert len(target) == len(data.target) == 48
    assert type(target.all()) is UnlabelledBatch
    assert torch.equal(target.all().rgb, data.target.all().rgb)
    assert torch.equal(again.test_target.all().rgb, data.test_target.all().rgb)
    parts = [part.all() for part in (data.source, target, data.test_source, data.test_target)]
    domains = [{key.split("-")[0] for key in part.key} for part in parts]
    assert domains == [{"studio"}, {"street"}, {"studio"}, {"street"}]
    keys = [key for part in parts for key in part.key]
    assert len(set(keys)) == len(keys)  # no scored frame is trained on
    assert all(part.depth_m is None for part in parts)
    labels = (data.source.all(), data.test_target.all())
    assert all(part.mask is part.hand_mask is part.depth_label_m is part.vertices_m is None for part in labels)
    assert data.test_target.all().joints_m.shape[1] == len(TRACKS[track].skeleton)


@pytest.mark.parametrize("track", ["hand-rgb", "hand-depth"])
def test_sets_from_disk(sets, track, tmp_path):
    """Written as shards and read back, and read again without rendering."""
    config = SynthShiftConfig(track, sets=tmp_path)
    first = rendered(config)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    assert len(written) == 4
    again = rendered(config)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == written
    for data in (first, again):
        ours, theirs = data.target.all(), sets[track].target.all()
        assert ours.key == theirs.key
        assert torch.equal(ours.uv_px, theirs.uv_px)
        # Depth is stored in steps of 0.1 mm, a step of the picture is 1 mm.
        assert (ours.rgb - theirs.rgb).abs().max() <= (1.01 / 255 if track == "hand-depth" else 0)


@pytest.mark.parametrize("track", ["hand-rgb", "body-rgb"])
def test_videos_give_pairs(sets, videos, track):
    data = videos[track]
    frames = synthshift_data(SynthShiftConfig(track), PRESETS[track], data).target.videos.all()
    assert type(frames) is UnlabelledBatch
    assert Counter(frames.sequence) == dict.fromkeys(("street-1-000000", "street-1-000001"), 24)
    assert len(pairs_of(frames, PairConfig())) == 48
    assert frames.key == data.target.all().key
    assert sets[track].target.all().sequence is None
    assert set(data.source_videos.all().key).isdisjoint(data.source.all().key)
    assert data.upper_bound.all().key == sets[track].target.all().key


def test_depth_has_no_videos():
    with pytest.raises(InputError, match=r"^track hand-depth has no videos"):
        synthshift_experiment(SynthShiftConfig("hand-depth", target_frames="videos"), ONE_CPU)


def test_depth_targets_are_sets_of_three_views(sets):
    target = sets["hand-depth"].target.map(lambda batch: batch.unlabelled()).all()
    assert target.view.tolist() == [0, 1, 2] * 16
    assert len(set(target.sequence)) == 16
    assert target.T_world_cam is not None
    assert target.centre_m is not None


def test_seeds_share_the_test_set_alone(sets):
    data, other = sets["hand-rgb"], rendered(SynthShiftConfig(seed=1))
    assert torch.equal(other.test_target.all().rgb, data.test_target.all().rgb)
    assert not set(other.target.all().key) & set(data.target.all().key)
    assert not set(other.source.all().key) & set(data.source.all().key)


@pytest.mark.parametrize("track", TRACKS)
def test_methods_get_no_label_of_the_target(sets, track):
    config = SynthShiftConfig(track)
    experiment = synthshift_experiment(config, ONE_CPU)
    context = experiment_context(experiment, synthshift_data(config, experiment.preset, sets[track]))
    assert type(context.target_frames.batches(8).batch(0)) is UnlabelledBatch
    assert type(context.source.batches(8).batch(0)) is LabelledBatch
    first, second = context.new_network(), context.new_network()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("track", ["hand-rgb", "hand-depth"])
@pytest.mark.parametrize("split", ["train", "test", "both"])
def test_target_split(sets, track, split):
    """Methods get the frames of the split, and their labels are those of the same frames."""
    data = synthshift_data(SynthShiftConfig(track, target_split=split), PRESETS[track], sets[track])
    parts = {"train": ("target",), "test": ("test_target",), "both": ("target", "test_target")}[split]
    keys = tuple(key for name in parts for key in getattr(sets[track], name).without_images().key)
    assert data.target.dataset.without_images().key == keys
    assert data.selection.frames.key == data.selection.labels.key == keys
    uv_px = torch.cat([getattr(sets[track], name).without_images().uv_px for name in parts])
    assert torch.equal(data.selection.labels.uv_px, uv_px)
    assert set(data.frame_labels.key) <= set(keys)
    assert data.evaluation.frames.key == sets[track].test_target.all().key


@pytest.mark.parametrize("track", TRACKS)
def test_row_of_the_table(runs, track):
    folder, outcome = runs[track]
    row = outcome.row()
    gaps = [f"residual_gap_{role}" for role in ROLES]
    names = ["track", "method", "seed", "metric", *ROLES, "gap_closed", "minutes", "source_on_source", *gaps]
    assert [*row] == names
    assert (row["track"], row["method"], row["seed"]) == (track, "mean-teacher", 0)
    assert all(np.isfinite(row[role]) for role in (*ROLES, "source_on_source"))
    scores = outcome.record.scores
    if track == "hand-depth":
        assert row["metric"] == "mean_error_mm"
        assert row["adapted"] == scores["adapted"].mean_error_mm
        assert scores["adapted"].alignment == "none"
    else:
        assert row["metric"] == "pck_005"
        assert row["adapted"] == scores["adapted"].pck_005
    for name in ("record.json", "report.html", "predictions.npz", "model.safetensors"):
        assert (folder / name).is_file()
    assert scores["adapted"].n_frames == 24
    assert outcome.record.provenance.checkpoint.oracle is not None


def test_gallery_is_of_the_test_set(runs, sets):
    test = sets["hand-rgb"].test_target.all()
    for frame in runs["hand-rgb"][1].record.gallery:
        row = test.key.index(frame.key)
        np.testing.assert_allclose(frame.uv_truth, test.uv_px[row].numpy(), atol=1e-4)


@pytest.mark.parametrize("track", ["hand-rgb", "body-rgb"])
def test_geometric_reconstruction(videos, track, tmp_path):
    """On videos, with source model and upper bound that are shared, and with sections for the report."""
    shared = tmp_path / "shared"
    alone = SynthShiftConfig(track, "integrated-pseudo-labels", target_frames="videos", shared=shared)
    whole = replace(alone, method="geometric-reconstruction")
    lone = run_synthshift(alone, tmp_path / "alone", ONE_CPU, sets=videos[track])
    written = (shared / "stages/1-source/result.safetensors").stat().st_mtime_ns
    outcome = run_synthshift(whole, tmp_path / "whole", ONE_CPU, sets=videos[track])
    assert (shared / "stages/1-source/result.safetensors").stat().st_mtime_ns == written  # trained once
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


@pytest.mark.parametrize("name", ["small", "full"])
@pytest.mark.parametrize("track", ["hand-rgb", "body-rgb"])
def test_methods_on_videos_take_as_many_steps(track, name):
    methods = find_preset(TRACKS[track].preset_family(videos=True), name, "mean-teacher").methods
    alone, teacher = methods["integrated-pseudo-labels"], methods["mean-teacher"]
    assert (teacher.schedule, teacher.batch_size) == (alone.schedule, alone.batch_size)
    stills = find_preset(TRACKS[track].preset_family(videos=False), name, "mean-teacher").methods
    assert {key: config for key, config in stills.items() if config != methods[key]}.keys() <= {"mean-teacher"}


def test_mean_teacher_on_videos(videos, tmp_path):
    config = SynthShiftConfig(target_frames="videos")
    outcome = run_synthshift(config, tmp_path, ONE_CPU, sets=videos["hand-rgb"])
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["recipe"]["methods"]
    assert [*recipe] == ["mean-teacher", "supervised-target"]
    alone = PRESETS["hand-rgb"].methods["integrated-pseudo-labels"]
    assert recipe["mean-teacher"]["schedule"]["steps"] == alone.schedule.steps
    assert recipe["mean-teacher"]["batch_size"] == alone.batch_size
    assert outcome.record.provenance.checkpoint.candidates[-1].step == alone.schedule.steps
    # In the order in which they were trained, which is not that of the scores.
    assert [*outcome.record.curves] == ["1-source", "2-supervised-target", "3-mean-teacher"]


def test_planted_gap_is_in_all_source_labels(tmp_path, monkeypatch, videos):
    used = []

    def spy(*given):
        used.append(given[2])
        return synthshift_data(*given)

    monkeypatch.setattr(synthshift, "synthshift_data", spy)
    config = SynthShiftConfig("body-rgb", "geometric-reconstruction", target_frames="videos", annotation_gap=0.35)
    outcome = run_synthshift(config, tmp_path, ONE_CPU)
    assert outcome.residual_gap.keys() == set(ROLES)
    skeleton, plain = TRACKS["body-rgb"].skeleton, videos["body-rgb"]
    for name in ("source", "source_videos"):
        labelled = getattr(used[0], name).all()
        assert residual_gap(labelled.uv_px, getattr(plain, name).all(), skeleton) == pytest.approx(0.35, abs=0.02)
    for name in ("target", "upper_bound", "test_target"):
        assert torch.equal(getattr(used[0], name).all().uv_px, getattr(plain, name).all().uv_px)


def _other_learning_rate(preset: Preset) -> Preset:
    config = preset.methods["mean-teacher"]
    assert isinstance(config, MeanTeacherConfig)
    return preset.with_config("mean-teacher", replace(config, schedule=replace(config.schedule, learning_rate=1e-6)))


def _other_source_training(preset: Preset) -> Preset:
    return replace(preset, source=replace(preset.source, depth_weight=3.0))


def test_ablations_share_what_they_do_not_change(sets, tmp_path):
    config = SynthShiftConfig(shared=tmp_path / "shared")
    for name, change in (("rate", _other_learning_rate), ("source", _other_source_training)):
        run_synthshift(config, tmp_path / name, ONE_CPU, change=change, sets=sets["hand-rgb"])
    stages = {
        name: sorted(path.name for path in (tmp_path / name / "stages").iterdir())
        for name in ("shared", "rate", "source")
    }
    assert stages == {
        "shared": ["1-source", "2-supervised-target"],
        "rate": ["3-mean-teacher"],
        "source": ["1-source", "2-supervised-target", "3-mean-teacher"],
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            SynthShiftConfig(method="geometric-reconstruction"),
            "takes pairs of video frames: give --target-frames videos",
        ),
        (SynthShiftConfig("hand-depth", "geometric-reconstruction"), "track hand-depth is depth: choose source-only"),
        (SynthShiftConfig(method="multi-view-fusion"), "takes depth, and track hand-rgb is colour"),
        (SynthShiftConfig(method="magic"), "no method 'magic': choose source-only, mean-teacher"),
        (SynthShiftConfig(preset="huge"), "no preset 'huge': choose small, full"),
        (SynthShiftConfig(target_domain="moon"), "no domain 'moon': choose one of studio"),
        (SynthShiftConfig("feet"), "no track 'feet': choose one of hand-rgb"),
        (SynthShiftConfig(target_frames="videos", target_split="test"), "test frames of track hand-rgb are no videos"),
    ],
    ids=["pairs", "depth", "colour", "method", "preset", "domain", "track", "split"],
)
def test_refusals(config, message, tmp_path, monkeypatch):
    """Before anything is rendered or written."""
    monkeypatch.setattr(synthshift, "render_sets", lambda *_: pytest.fail("sets were rendered"))
    with pytest.raises(InputError, match=message) as error:
        run_synthshift(config, tmp_path / "run", ONE_CPU)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_another_config_is_refused(runs, monkeypatch):
    monkeypatch.setattr(synthshift, "render_sets", lambda *_: pytest.fail("sets were rendered"))
    with pytest.raises(InputError, match="holds a run of another config"):
        run_synthshift(SynthShiftConfig(seed=1), runs["hand-rgb"][0], ONE_CPU)
