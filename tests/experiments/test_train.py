"""Runs of the published transfers, on their datasets in a few frames: what is trained on what, and stopped by what."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from posebridge.recipes.transfer import TransferConfig
from posebridge.recipes.transfer_run import TransferJob, run_transfer
from posebridge.recipes.transfers import TRANSFERS
from recipes.small_runs import ONE_CPU
from recipes.transfer_sets import config_of, opened, tiny, write_sets

from data.on_disk import truncate
from posebridge.contracts.batch import LabelledBatch, UnlabelledBatch
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record_file import load_record
from posebridge.data.pairs import PairConfig, split_pairs
from posebridge.deployment.model_file import load_model
from posebridge.errors import InputError
from posebridge.methods.geometric_reconstruction import integrated_labels
from report.find_sections import section_of, titles

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = {  # of each transfer, one or more
    "rhd-to-h3d": ("geometric-reconstruction", "supervised-target"),
    "rhd-to-mvhand": ("integrated-pseudo-labels", "mean-teacher"),
    "surreal-to-human36m": ("geometric-reconstruction", "source-only"),
    "surreal-to-3dpw": ("geometric-reconstruction", "mean-teacher"),
}
RUNS = [(name, method) for name, methods in METHODS.items() for method in methods]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(autouse=True, scope="module")
def little_anatomy():
    """What limits of joint angles are taken from: 8 source frames instead of 2048."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integrated_labels, "_SOURCE_BATCHES", 1)
        patch.setattr(integrated_labels, "_SOURCE_BATCH", 8)
        yield


@pytest.fixture(scope="module")
def runs(sets, tmp_path_factory):
    """Finished runs by transfer and method, made when they are asked for."""
    made = {}

    def run(name: str, method: str):
        if (name, method) not in made:
            folder = tmp_path_factory.mktemp("runs") / f"{name}-{method}"
            made[name, method] = folder, run_transfer(tiny(name), config_of(sets, name, method), folder, ONE_CPU)
        return made[name, method]

    return run


@pytest.mark.parametrize(("name", "method"), RUNS)
def test_runs(runs, name, method):
    folder, record = runs(name, method)
    other = {"source-only": None, "supervised-target": "supervised_target"}.get(method, "adapted")
    assert list(record.scores) == ["source_only", *([other] if other else [])]
    for score in record.scores.values():
        assert np.isfinite([score.pck_005, score.mean_error_mm]).all()
        assert score.n_frames == (4 if name == "rhd-to-h3d" else 14)
    stages = {
        "source-only": ["1-source"],
        "mean-teacher": ["1-source", "2-mean-teacher"],
        "integrated-pseudo-labels": ["1-source", "2-pretraining", "3-fine-tuning"],
        "geometric-reconstruction": ["1-source", "2-pretraining", "3-warm-start", "4-reconstructor", "5-fine-tuning"],
        "supervised-target": ["1-source", "2-supervised-target"],
    }[method]
    assert sorted(path.name for path in (folder / "stages").iterdir()) == stages
    if other == "adapted":
        choice = record.provenance.checkpoint
        assert choice.oracle is not None
        steps = 4 if method == "integrated-pseudo-labels" else 2
        assert [c.step for c in choice.candidates] == [0, steps // 2, steps]
    if method == "geometric-reconstruction":
        assert titles(record) == ["Reconstructed frames", "Trusted joints", "Pseudo-labels"]
        assert len(record.sections[0].picture_rows) == 6
    else:
        assert titles(record) == (["Pseudo-labels"] if other == "adapted" else [])
    spec = load_model(folder).spec
    plan = TRANSFERS[name]
    assert (spec.skeleton, spec.method) == (plan.skeleton.name, method)
    assert KeypointSet.load(folder / "predictions.npz").joint_names == plan.skeleton.joints
    assert load_record(folder).published == record.published
    assert len(record.gallery) == 3 * min(4, record.scores["source_only"].n_frames // 3)


def test_redrawn_frames_come_with_their_labels(runs, sets):
    _, record = runs("rhd-to-h3d", "geometric-reconstruction")
    crops = opened(sets, "rhd-to-h3d").target_labelled
    labelled = {crops[i].key[0]: crops[i] for i in range(len(crops))}
    for row in section_of(record, "Reconstructed frames").picture_rows:
        driving_key, base_key = row.caption.split(" from ")
        np.testing.assert_allclose(row.pictures[1].pose("truth"), labelled[driving_key].uv_px[0])
        assert base_key.rsplit("/", 1)[0] == driving_key.rsplit("/", 1)[0]


@pytest.mark.parametrize("name", TRANSFERS)
def test_methods_see_no_label_of_the_target(sets, name, tmp_path, monkeypatch):
    job = TransferJob.open(tiny(name), config_of(sets, name), tmp_path, ONE_CPU)
    context = job.context()
    monkeypatch.setattr(job.data.target.frames, "labels", _refuse, raising=True)
    frames, pairs = context.target(4).batch(0), context.pairs(3, PairConfig()).batch(0)
    assert type(frames) is type(pairs) is UnlabelledBatch
    assert type(context.source(4).batch(0)) is LabelledBatch
    base, driving = split_pairs(pairs)
    assert (base.sequence, base.view.tolist()) == (driving.sequence, driving.view.tolist())
    assert ((base.frame - driving.frame).abs() >= 5).all()
    assert ((base.frame - driving.frame).abs() <= 15).all()


def _refuse(index: int):
    raise AssertionError("a label was asked for")


@pytest.mark.parametrize("name", TRANSFERS)
def test_what_is_scored_was_not_trained_on(sets, name):
    data = opened(sets, name)
    train = {data.target[i].key for i in range(len(data.target))}
    test = {data.test[i].key for i in range(len(data.test))}
    assert not train & test
    assert len(data.test) == (4 if name == "rhd-to-h3d" else 14)
    assert test == {opened(sets, name).test[i].key for i in range(len(data.test))}  # the same in every run


def test_broken_frames_are_left_out_and_listed(sets, tmp_path):
    shutil.copytree(sets["rhd-to-h3d"].target, tmp_path / "h3d")
    shutil.copytree(sets["rhd-to-h3d"].source, tmp_path / "rhd")
    broken = [*sorted((tmp_path / "h3d").rglob("*.jpg"))[::3], tmp_path / "rhd/training/color/00002.png"]
    for file in broken:
        truncate(file, 0.2)
    plan = tiny("rhd-to-h3d")
    plan = replace(plan, sizes={"small": replace(plan.sizes["small"], test_frames=None)})
    config = TransferConfig("rhd-to-h3d", tmp_path / "rhd", tmp_path / "h3d", "geometric-reconstruction")
    record = run_transfer(plan, config, tmp_path / "run", ONE_CPU)
    files = {skipped.file for skipped in record.skipped}
    assert files <= {str(file) for file in broken}
    test = [i for i, frame in enumerate(opened(sets, "rhd-to-h3d").test.frames) if frame is not None]
    assert record.scores["adapted"].n_frames < len(test)
    listed = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert set(listed["reasons"]) == files
    for file in (tmp_path / "h3d").rglob("*.jpg"):
        truncate(file, 0.2)
    with pytest.raises(InputError, match=r"frames in a row can't be read, the last one because: .*\.jpg: "):
        run_transfer(plan, config, tmp_path / "other", ONE_CPU)
    assert not (tmp_path / "other" / "stages").exists()


def test_a_run_that_was_stopped_ends_as_one_that_was_not(runs, sets, tmp_path):
    whole, record = runs("rhd-to-h3d", "geometric-reconstruction")
    shutil.copytree(whole, tmp_path / "run")
    for stage in ("3-warm-start", "4-reconstructor", "5-fine-tuning"):  # as if it had been killed in the third stage
        shutil.rmtree(tmp_path / "run" / "stages" / stage)
    again = run_transfer(
        tiny("rhd-to-h3d"), config_of(sets, "rhd-to-h3d", "geometric-reconstruction"), tmp_path / "run", ONE_CPU
    )
    assert again.scores == record.scores
    ours, theirs = (KeypointSet.load(folder / "predictions.npz").uv_px for folder in (tmp_path / "run", whole))
    np.testing.assert_array_equal(ours, theirs)


def test_pairs_are_missed_before_anything_is_trained(sets, tmp_path):
    plan = tiny("rhd-to-mvhand")
    size = plan.sizes["small"]
    far = replace(size.geometric_reconstruction.reconstruction, pairs=PairConfig((50, 60)))
    geometric = replace(size.geometric_reconstruction, reconstruction=far)
    plan = replace(plan, sizes={"small": replace(size, geometric_reconstruction=geometric)})
    with pytest.raises(InputError, match="no two frames of one sequence are 50 to 60 frames apart"):
        run_transfer(plan, config_of(sets, "rhd-to-mvhand", "geometric-reconstruction"), tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run" / "stages").exists()


def test_weights_are_missed_before_anything_is_trained(sets, tmp_path):
    plan, weights = tiny("rhd-to-h3d"), str(tmp_path / "absent.pth")
    with pytest.raises(InputError, match=r"absent\.pth"):
        run_transfer(plan, config_of(sets, plan.name, encoder_weights=weights), tmp_path / "run", ONE_CPU)
    full = replace(plan.sizes["small"], mean_teacher=TRANSFERS[plan.name].sizes["full"].mean_teacher)
    plan = replace(plan, sizes={"small": full})
    with pytest.raises(InputError, match=r"absent\.pth"):
        run_transfer(plan, config_of(sets, plan.name, "mean-teacher", vgg_weights=weights), tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run" / "stages").exists()
