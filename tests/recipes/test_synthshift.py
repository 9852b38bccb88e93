"""One cell of the benchmark: what is compared with what, on which data."""

import numpy as np
import pytest
import torch

from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.errors import InputError
from posebridge.recipes.hand_rgb import render_data
from posebridge.recipes.synthshift import SynthShiftConfig, make_context, run_synthshift
from recipes.small_runs import ONE_CPU, SMALL_HAND_RGB, shrink


@pytest.fixture(scope="module")
def data():
    return render_data(SMALL_HAND_RGB, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "synthshift"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield folder, run_synthshift(SynthShiftConfig(), folder, ONE_CPU)


def test_sets(data):
    told = []
    again = render_data(SMALL_HAND_RGB, 0, told.append)
    assert sum(told) == 64 + 40 + 24 + 24
    assert len(data.source) == 64
    assert len(data.target) == len(data.target_labelled) == 40
    assert type(data.target.all()) is UnlabelledBatch
    assert torch.equal(data.target.all().rgb, data.target_labelled.all().rgb)
    assert torch.equal(again.test_target.rgb, data.test_target.rgb)
    parts = (data.source.all(), data.target.all(), data.test_source, data.test_target)
    domains = [{key.split("-")[0] for key in part.key} for part in parts]
    assert domains == [{"studio"}, {"street"}, {"studio"}, {"street"}]
    keys = [key for part in parts for key in part.key]
    assert len(set(keys)) == len(keys)  # what is scored was never trained on
    assert all(part.depth_m is None for part in parts)


def test_seeds_share_the_test_set_alone(data):
    other = render_data(SMALL_HAND_RGB, seed=1)
    assert torch.equal(other.test_target.rgb, data.test_target.rgb)
    assert not set(other.target.all().key) & set(data.target.all().key)
    assert not set(other.source.all().key) & set(data.source.all().key)


def test_methods_see_no_label_of_the_target(data):
    context = make_context(SMALL_HAND_RGB, data, 0, ONE_CPU)
    assert type(context.target(8).batch(0)) is UnlabelledBatch
    assert type(context.source(8).batch(0)) is LabelledBatch
    first, second = context.new_network(), context.new_network()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_row_of_the_table(run):
    folder, outcome = run
    row = outcome.row()
    roles = ("source_only", "adapted", "supervised_target")
    assert [*row] == ["method", "seed", *roles, "gap_closed", "minutes", "source_on_source"]
    assert (row["method"], row["seed"]) == ("mean_teacher", 0)
    assert all(0 <= row[role] <= 1 for role in (*roles, "source_on_source"))
    assert (folder / "record.json").is_file()
    assert not (folder / "report.html").exists()
    assert outcome.record.scores["adapted"].n_frames == 24
    assert outcome.record.provenance.checkpoint.oracle is not None


def test_another_config_is_refused(run, small_sizes):
    with pytest.raises(InputError, match="holds a run of another config"):
        run_synthshift(SynthShiftConfig(seed=1), run[0], ONE_CPU)


def test_the_record_s_gallery_is_of_the_test_set(run, data):
    keys = set(data.test_target.key)
    for frame in run[1].record.gallery:
        assert frame.key in keys
        row = data.test_target.key.index(frame.key)
        np.testing.assert_allclose(frame.uv_truth, data.test_target.uv_px[row].numpy(), atol=1e-4)
