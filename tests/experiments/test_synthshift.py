"""One cell of SynthShift on single images, of each track: sets, what methods receive, the row of the table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.small_runs import ONE_CPU, preset_of, rendered_sets, shrink, shrunk
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.errors import InputError
from posebridge.experiments import synthshift
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.runner import experiment_context
from posebridge.experiments.synthshift import run_synthshift, synthshift_data, synthshift_experiment
from posebridge.experiments.tracks import TRACKS
from posebridge.methods.mean_teacher.config import MeanTeacherConfig
from posebridge.presets.preset import Preset

ROLES = ("source_only", "adapted", "supervised_target")
PRESETS = {track: shrunk(preset_of(f"synthshift/{track}")) for track in TRACKS}

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def sets():
    """The rendered sets of seed 0, by track."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return {track: rendered_sets(SynthShiftConfig(track)) for track in TRACKS}


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
    data, again = sets[track], rendered_sets(SynthShiftConfig(track))
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
    first = rendered_sets(config)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    assert len(written) == 4
    again = rendered_sets(config)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == written
    for data in (first, again):
        ours, theirs = data.target.all(), sets[track].target.all()
        assert ours.key == theirs.key
        assert torch.equal(ours.uv_px, theirs.uv_px)
        # Depth is stored in steps of 0.1 mm, a step of the picture is 1 mm.
        assert (ours.rgb - theirs.rgb).abs().max() <= (1.01 / 255 if track == "hand-depth" else 0)


def test_depth_targets_are_sets_of_three_views(sets):
    target = sets["hand-depth"].target.map(lambda batch: batch.unlabelled()).all()
    assert target.view.tolist() == [0, 1, 2] * 16
    assert len(set(target.sequence)) == 16
    assert target.T_world_cam is not None
    assert target.centre_m is not None


def test_seeds_share_the_test_set_alone(sets):
    data, other = sets["hand-rgb"], rendered_sets(SynthShiftConfig(seed=1))
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
