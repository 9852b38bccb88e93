"""SynthShift on frames of videos: pairs, methods that take them, equal steps, the planted annotation gap."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
import yaml

from experiments.small_runs import ONE_CPU, preset_of, rendered_sets, shrink, shrunk
from posebridge.contracts.batch import UnlabelledBatch
from posebridge.data.annotation_gap import residual_gap
from posebridge.data.pairs import PairConfig, pairs_of
from posebridge.errors import InputError
from posebridge.experiments import synthshift
from posebridge.experiments.configs import SynthShiftConfig
from posebridge.experiments.synthshift import run_synthshift, synthshift_data, synthshift_experiment
from posebridge.experiments.tracks import TRACKS
from posebridge.presets.table import find_preset
from report.find_sections import titles, value_of

ROLES = ("source_only", "adapted", "supervised_target")
PRESETS = {track: shrunk(preset_of(f"synthshift/{track}")) for track in TRACKS}

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def videos():
    """The rendered sets of seed 0 of the colour tracks, with videos."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return {
            track: rendered_sets(SynthShiftConfig(track, target_frames="videos")) for track in ("hand-rgb", "body-rgb")
        }


@pytest.mark.parametrize("track", ["hand-rgb", "body-rgb"])
def test_videos_give_pairs(videos, track):
    data, stills = videos[track], rendered_sets(SynthShiftConfig(track))
    frames = synthshift_data(SynthShiftConfig(track), PRESETS[track], data).target.videos.all()
    assert type(frames) is UnlabelledBatch
    assert Counter(frames.sequence) == dict.fromkeys(("street-1-000000", "street-1-000001"), 24)
    assert len(pairs_of(frames, PairConfig())) == 48
    assert frames.key == data.target.all().key
    assert stills.target.all().sequence is None
    assert set(data.source_videos.all().key).isdisjoint(data.source.all().key)
    assert data.upper_bound.all().key == stills.target.all().key


def test_depth_has_no_videos():
    with pytest.raises(InputError, match=r"^track hand-depth has no videos"):
        synthshift_experiment(SynthShiftConfig("hand-depth", target_frames="videos"), ONE_CPU)


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
    assert teacher.schedule.steps == alone.warm_start.steps + alone.schedule.steps
    assert teacher.batch_size == alone.batch_size
    stills = find_preset(TRACKS[track].preset_family(videos=False), name, "mean-teacher").methods
    assert {key: config for key, config in stills.items() if config != methods[key]}.keys() <= {"mean-teacher"}


def test_mean_teacher_on_videos(videos, tmp_path):
    config = SynthShiftConfig(target_frames="videos")
    outcome = run_synthshift(config, tmp_path, ONE_CPU, sets=videos["hand-rgb"])
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["recipe"]["methods"]
    assert [*recipe] == ["mean-teacher", "supervised-target"]
    alone = PRESETS["hand-rgb"].methods["integrated-pseudo-labels"]
    assert recipe["mean-teacher"]["schedule"]["steps"] == alone.steps
    assert recipe["mean-teacher"]["batch_size"] == alone.batch_size
    assert outcome.record.provenance.checkpoint.candidates[-1].step == alone.steps
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
        true = getattr(plain, name).all()
        gap = residual_gap(labelled.uv_px, true.uv_px, skeleton, true.rgb.shape[-1])
        assert gap == pytest.approx(0.35, abs=0.02)
    for name in ("target", "upper_bound", "test_target"):
        assert torch.equal(getattr(used[0], name).all().uv_px, getattr(plain, name).all().uv_px)
