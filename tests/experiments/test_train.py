"""Runs from dataset to dataset, in a few frames: what is trained on what, and what is refused before training."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data.on_disk import truncate
from experiments.small_runs import ONE_CPU, shrink
from experiments.transfer_sets import config_of, opened
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.contracts.record_file import load_record
from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.pairs import PairConfig
from posebridge.deployment.model_file import load_model
from posebridge.errors import InputError
from posebridge.experiments import train
from posebridge.experiments.configs import DatasetRef
from posebridge.experiments.train import run_train
from posebridge.experiments.view import record_view
from posebridge.presets import table
from posebridge.skeletons.body import H36M17
from posebridge.training import registration
from report.find_sections import section_of, titles

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]

METHODS = {  # of each transfer, one or more
    "rhd-to-h3d": ("geometric-reconstruction", "supervised-target"),
    "rhd-to-mvhand": ("integrated-pseudo-labels", "mean-teacher"),
    "surreal-to-human36m": ("geometric-reconstruction", "source-only"),
    "surreal-to-3dpw": ("geometric-reconstruction", "mean-teacher"),
}
RUNS = [(name, method) for name, methods in METHODS.items() for method in methods]


@pytest.fixture(autouse=True, scope="module")
def little_anatomy():
    """Limits of joint angles are taken from 8 source frames instead of 2048."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "_SOURCE_BATCHES", 1)
        patch.setattr(registration, "_SOURCE_BATCH", 8)
        yield


@pytest.fixture(scope="module")
def runs(datasets, tmp_path_factory):
    """Finished runs by transfer and method, made when they are asked for."""
    made = {}

    def run(name: str, method: str):
        if (name, method) not in made:
            folder = tmp_path_factory.mktemp("runs") / f"{name}-{method}"
            with pytest.MonkeyPatch.context() as patch:
                shrink(patch)
                made[name, method] = folder, run_train(config_of(datasets, name, method), folder, ONE_CPU).record
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
        "integrated-pseudo-labels": ["1-source", "2-pretraining", "3-warm-start", "4-fine-tuning"],
        "geometric-reconstruction": ["1-source", "2-pretraining", "3-warm-start", "4-reconstructor", "5-fine-tuning"],
        "supervised-target": ["1-source", "2-supervised-target"],
    }[method]
    assert sorted(path.name for path in (folder / "stages").iterdir()) == stages
    assert list(record.curves) == stages
    if other == "adapted":
        choice = record.provenance.checkpoint
        assert choice.oracle is not None
        assert [c.step for c in choice.candidates] == [0, 1, 2]
    if method == "geometric-reconstruction":
        assert titles(record) == ["Reconstructed frames", "Trusted joints", "Pseudo-labels"]
        assert len(record.sections[0].picture_rows) == 6
    else:
        assert titles(record) == (["Pseudo-labels"] if other == "adapted" else [])
    spec = load_model(folder).spec
    skeleton = "mpii16" if name.startswith("surreal") else "hand21"
    assert (spec.skeleton, spec.method) == (skeleton, method)
    assert KeypointSet.load(folder / "predictions.npz").joint_names == record.joint_names
    assert load_record(folder).published == record.published
    assert record.published
    assert len(record.gallery) == 3 * min(4, record.scores["source_only"].n_frames // 3)
    assert (folder / "report.html").is_file()


def test_the_recording_shows_the_test_frames(runs, tmp_path):
    folder, record = runs("rhd-to-h3d", "supervised-target")
    recorded = record_view(folder, tmp_path / "view.rrd")
    assert recorded.note == ""
    assert recorded.with_frames == recorded.poses == record.scores["source_only"].n_frames


def test_notes_count_frames(runs, datasets):
    _, record = runs("rhd-to-h3d", "geometric-reconstruction")
    data = opened(datasets, "rhd-to-h3d")
    assert record.title == "RHD to H3D, small"
    assert record.notes == (
        f"Labelled: {len(data.source.crops)} frames of RHD. Unlabelled: {len(data.target.crops)} frames of H3D.",
        "Scored on 4 frames of the test split.",
    )


def test_reconstructed_frames_come_with_their_labels(runs, datasets):
    _, record = runs("rhd-to-h3d", "geometric-reconstruction")
    crops = opened(datasets, "rhd-to-h3d").labelled_target.crops
    labelled = {crops[i].key[0]: crops[i] for i in range(len(crops))}
    for row in section_of(record, "Reconstructed frames").picture_rows:
        driving_key, base_key = row.caption.split(" from ")
        np.testing.assert_allclose(row.pictures[1].pose("truth"), labelled[driving_key].uv_px[0])
        assert base_key.rsplit("/", 1)[0] == driving_key.rsplit("/", 1)[0]


def test_broken_frames_are_left_out_and_listed(datasets, tmp_path, capsys, monkeypatch):
    shutil.copytree(datasets["rhd-to-h3d"].target, tmp_path / "h3d")
    shutil.copytree(datasets["rhd-to-h3d"].source, tmp_path / "rhd")
    broken = [*sorted((tmp_path / "h3d").rglob("*.jpg"))[::3], tmp_path / "rhd/training/color/00002.png"]
    for file in broken:
        truncate(file, 0.2)
    changed = [replace(p, data=replace(p.data, test=None)) if "hand-rgb" in p.family else p for p in table.PRESETS]
    monkeypatch.setattr(table, "PRESETS", changed)
    config = replace(
        config_of(datasets, "rhd-to-h3d", "geometric-reconstruction"),
        source=DatasetRef("rhd", tmp_path / "rhd"),
        target=DatasetRef("h3d", tmp_path / "h3d"),
    )
    record = run_train(config, tmp_path / "run", ONE_CPU).record
    files = {skipped.file for skipped in record.skipped}
    assert files <= {str(file) for file in broken}
    assert record.scores["adapted"].n_frames < len(opened(datasets, "rhd-to-h3d").evaluation.crops)
    listed = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert set(listed["reasons"]) == files
    assert f"{len(files)} files could not be used; they are listed in" in capsys.readouterr().out
    for file in (tmp_path / "h3d").rglob("*.jpg"):
        truncate(file, 0.2)
    with pytest.raises(InputError, match=r"frames in a row can't be read, the last one because: .*\.jpg: "):
        run_train(config, tmp_path / "other", ONE_CPU)
    assert not (tmp_path / "other" / "stages").exists()


def test_stopped_run_ends_as_a_whole_one(runs, datasets, tmp_path):
    whole, record = runs("rhd-to-h3d", "geometric-reconstruction")
    shutil.copytree(whole, tmp_path / "run")
    for stage in ("3-warm-start", "4-reconstructor", "5-fine-tuning"):  # as if it had been killed in the third stage
        shutil.rmtree(tmp_path / "run" / "stages" / stage)
    config = config_of(datasets, "rhd-to-h3d", "geometric-reconstruction")
    again = run_train(config, tmp_path / "run", ONE_CPU).record
    assert again.scores == record.scores
    ours, theirs = (KeypointSet.load(folder / "predictions.npz").uv_px for folder in (tmp_path / "run", whole))
    np.testing.assert_array_equal(ours, theirs)


def test_hands_from_renders(datasets, tmp_path):
    """A target needs no labelled dataset beside it."""
    presets = [replace(p, data=replace(p.data, source=24)) for p in table.PRESETS if p.name == "small"]
    config = replace(config_of(datasets, "rhd-to-mvhand"), source=None, domain="studio", recipe=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "PRESETS", presets)
        record = run_train(config, tmp_path / "run", ONE_CPU).record
    assert record.title == "studio renders to MVHand, small"
    assert record.notes[0].startswith("Labelled: 24 frames of studio renders. Unlabelled: ")
    assert record.published == ()
    assert list(record.scores) == ["source_only"]


def test_people_from_renders(datasets, tmp_path):
    """Renders label Human3.6M's joints, so the run predicts these."""
    presets = [replace(p, data=replace(p.data, source=24)) for p in table.PRESETS if p.name == "small"]
    config = replace(config_of(datasets, "surreal-to-3dpw"), source=None, domain="studio", recipe=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "PRESETS", presets)
        record = run_train(config, tmp_path / "run", ONE_CPU).record
    assert record.joint_names == H36M17.joints
    assert record.published == ()
    assert record.scores["source_only"].mean_error_mm > 0


def test_both_splits_are_adapted_to(datasets, tmp_path):
    config = replace(config_of(datasets, "rhd-to-h3d", "geometric-reconstruction"), target_split="both")
    record = run_train(config, tmp_path / "run", ONE_CPU).record
    counts = [len(opened(datasets, "rhd-to-h3d", target_split=split).target.crops) for split in ("train", "test")]
    assert f"Unlabelled: {sum(counts)} frames of H3D." in record.notes[0]


def _untouched(monkeypatch) -> None:
    """Fail where a set is rendered or a stage is trained."""
    for name in ("run_experiment", "depth_dataset_data"):
        monkeypatch.setattr(train, name, lambda *_, **__: pytest.fail("a run began"))
    monkeypatch.setattr("posebridge.experiments.renders.RenderLoader", lambda **_: pytest.fail("a set was rendered"))


def _with_pairs(stride: tuple[int, int]):
    method = "geometric-reconstruction"
    return [
        p.with_config(method, p.methods[method].with_pairs(PairConfig(stride))) if method in p.methods else p
        for p in table.PRESETS
    ]


def test_pairs_are_missed_before_training(datasets, tmp_path, monkeypatch):
    _untouched(monkeypatch)
    monkeypatch.setattr(table, "PRESETS", _with_pairs((50, 60)))
    with pytest.raises(InputError, match="no two frames of one sequence are 50 to 60 frames apart"):
        run_train(config_of(datasets, "rhd-to-mvhand", "geometric-reconstruction"), tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_weights_are_missed_before_anything_is_read(datasets, tmp_path, monkeypatch):
    _untouched(monkeypatch)
    monkeypatch.setattr(train, "dataset_data", lambda *_: pytest.fail("data were read"))
    weights, run = str(tmp_path / "absent.pth"), tmp_path / "run"
    with pytest.raises(InputError, match=r"absent\.pth"):
        run_train(config_of(datasets, "rhd-to-h3d", encoder_weights=weights), run, ONE_CPU)
    full = table.find_preset("datasets/hand-rgb", "full", "mean-teacher").methods["mean-teacher"]
    presets = [
        p.with_config("mean-teacher", full) if p.name == "small" and "mean-teacher" in p.methods else p
        for p in table.PRESETS
    ]
    monkeypatch.setattr(table, "PRESETS", presets)
    with pytest.raises(InputError, match=r"absent\.pth"):
        run_train(config_of(datasets, "rhd-to-h3d", "mean-teacher", feature_weights=weights), run, ONE_CPU)
    assert not (run / "config.yaml").exists()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("rhd-to-h3d", {"method": "magic"}, "no method 'magic': choose source-only"),
        ("rhd-to-h3d", {"method": "multi-view-fusion"}, "takes depth, and dataset h3d is colour: choose source-only"),
        ("rhd-to-h3d", {"seed": -1}, "seed -1 is negative"),
        ("rhd-to-h3d", {"preset": "huge"}, "no preset 'huge': choose small, full"),
        ("rhd-to-h3d", {"translate": True}, "leave --translate out: h3d is colour"),
        ("rhd-to-h3d", {"stacks": 2}, "leave --stacks out: h3d is colour"),
        ("rhd-to-h3d", {"joints": "mpii16"}, "leave --joints out: h3d shows hands, whose joints are hand21"),
        ("rhd-to-h3d", {"source": None, "domain": "moon"}, "no domain 'moon': choose one of studio"),
        ("rhd-to-mvhand", {"hand": "left"}, "states which hand it shows: leave --hand out"),
        ("rhd-to-h3d", {"source": "surreal"}, "surreal and h3d show a hand and a body"),
        ("rhd-to-h3d", {"source": "nyu"}, "nyu is depth, and h3d is colour: choose two of a kind"),
        ("rhd-to-h3d", {"source": "rhd", "source_options": {"every": 2}}, "rhd has no option 'every': it takes depth"),
        ("rhd-to-h3d", {"target": "atlas"}, "no dataset 'atlas'"),
        ("rhd-to-h3d", {"target": "rhd", "method": "geometric-reconstruction"}, "and rhd has no videos"),
        ("surreal-to-3dpw", {"source": None, "joints": "mpii16"}, "have the joints of h36m17: leave --joints out"),
        ("surreal-to-3dpw", {"target_path": "nowhere"}, "nowhere is no folder: give the one of 3dpw"),
    ],
)
def test_refusals(datasets, tmp_path, monkeypatch, name, changes, message):
    _untouched(monkeypatch)
    config = replace(config_of(datasets, name), recipe=None)
    options = DatasetOptions(**changes.pop("source_options", {}))
    if changes.get("source"):
        changes["source"] = DatasetRef(changes["source"], config.source.path, options)
    if "target" in changes:
        changes["target"] = replace(config.target, name=changes["target"])
    if "target_path" in changes:
        changes["target"] = replace(config.target, path=tmp_path / changes.pop("target_path"))
    with pytest.raises(InputError, match=message) as error:
        run_train(replace(config, **changes), tmp_path / "run", ONE_CPU)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
