"""Runs on depth from labelled datasets: the source's labels, statistics, views of a moment, what is left out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bodies.mano_file import write_mano
from experiments.depth_benchmarks import truth, write_set
from experiments.small_runs import preset_of
from posebridge.data.datasets.dataset_ref import DatasetRef
from posebridge.data.datasets.depth_hands import DepthHands
from posebridge.data.datasets.msra import MSRA
from posebridge.data.datasets.options import DatasetOptions
from posebridge.data.render_config import RenderConfig
from posebridge.data.rendered_set import render_set
from posebridge.data.skipped_list import SkippedList
from posebridge.deployment.depth_cubes import DepthCubes
from posebridge.errors import InputError
from posebridge.experiments.configs import TrainConfig
from posebridge.experiments.depth_datasets import depth_dataset_data
from posebridge.experiments.train import run_train
from posebridge.experiments.train_config import resolve
from posebridge.methods.registry import find_method
from training.dots import ONE_CPU

pytestmark = [pytest.mark.usefixtures("small_sizes"), pytest.mark.usefixtures("one_thread")]


def labelled(target: str, root: Path, method: str, source: str = "msra", **changes) -> TrainConfig:
    """A run from a depth dataset to another; MSRA's second subject is the test."""
    options = DatasetOptions(test_subject=1)
    return TrainConfig(
        target=DatasetRef(target, root / target, options if target == "msra" else DatasetOptions()),
        source=DatasetRef(source, root / source, options if source == "msra" else DatasetOptions()),
        method=method,
        **changes,
    )


def test_from_labelled_depth(tmp_path):
    """MSRA's joints are the network's: its labels train a network of depth images, which then adapts to ICVL."""
    for name in ("msra", "icvl"):
        write_set(name, tmp_path / name)
    outcome = run_train(labelled("icvl", tmp_path, "mean-teacher"), tmp_path / "run", ONE_CPU)
    record = outcome.record
    assert record.title == "MSRA to ICVL, small"
    labelled_by, unlabelled = "Labelled: 6 images of MSRA.", "Unlabelled: 4 images of the training split of ICVL."
    assert record.notes[-1].startswith(f"{labelled_by} {unlabelled} Scored: 3")
    assert list(record.scores) == ["source_only", "adapted"]
    assert record.metric == "mean_error_mm"
    assert record.provenance.checkpoint is not None
    found = outcome.predictions["adapted"].keypoints
    true = truth("icvl", tmp_path / "icvl")
    # ICVL's joints without the palm are middles of the bones of HAND21, thumb first.
    fingers = found.xyz_mm[:, 1:].reshape(-1, 5, 4, 3)
    middles = (0.5 * (fingers[:, :, 1:] + fingers[:, :, :-1])).reshape(-1, 15, 3)
    errors = [np.linalg.norm(xyz - true[key], axis=-1).mean() for key, xyz in zip(found.key, middles, strict=True)]
    assert record.scores["adapted"].mean_error_mm == pytest.approx(np.mean(errors), rel=1e-4)


def test_source_labels_are_those_of_the_reader(tmp_path):
    root = write_set("msra", tmp_path / "set")
    preset = preset_of("datasets/hand-depth", "mean-teacher")
    ref = DatasetRef("msra", root, DatasetOptions(test_subject=1))
    cubes = DepthCubes(ref, preset.model, None, SkippedList(tmp_path / "s"), 0)
    batch = cubes.labelled(cubes.open_labelled(frozenset({"joints"})), None).dataset.all()
    reader = MSRA(root, "train", 1)
    assert batch.key == tuple(reader[i].key for i in range(len(reader)))
    np.testing.assert_allclose(batch.joints_m, [reader.labels(i).joints_m for i in range(len(reader))], atol=1e-6)
    np.testing.assert_allclose(batch.camera.project(batch.joints_m), batch.uv_px, atol=1e-3)
    assert batch.depth_m is None
    assert batch.image.shape[1:] == (3, 32, 32)


def test_frames_without_labels_change_no_statistics(tmp_path):
    write_set("msra", tmp_path / "msra")
    write_set("icvl", tmp_path / "icvl")
    joint_file = tmp_path / "msra" / "P0" / "1" / "joint.txt"
    lines = joint_file.read_text().splitlines()
    joint_file.write_text("\n".join([lines[0], "x y z", *lines[2:]]))
    config = resolve(labelled("icvl", tmp_path, "source-only"))
    skipped = SkippedList(tmp_path / "s")
    preset = preset_of("datasets/hand-depth", "source-only")
    data = depth_dataset_data(config, find_method("source-only"), preset, skipped, 0)
    assert len(data.source.dataset) == 6
    assert len(data.source_joints_m) == 5
    assert data.source_joints_m.norm(dim=-1).min() > 0.1


def test_supervised_on_depth(tmp_path):
    write_set("msra", tmp_path / "msra")
    config = labelled("msra", tmp_path, "supervised-target")
    record = run_train(config, tmp_path / "run", ONE_CPU).record
    assert list(record.scores) == ["source_only", "supervised_target"]


@pytest.mark.parametrize(
    ("method", "source", "target", "message"),
    [
        ("mean-teacher", "nyu", "icvl", "nyu labels the joints of nyu14, and the network predicts those of hand21"),
        ("supervised-target", "msra", "icvl", "icvl labels the joints of icvl16, and the network predicts"),
        ("multi-view-fusion", "msra", "icvl", "msra has no label vertices: it has joints"),
    ],
)
def test_labels_that_depth_sets_lack(tmp_path, method, source, target, message, monkeypatch):
    """Refused before a frame is read."""
    monkeypatch.setattr(DepthHands, "__getitem__", lambda *_: pytest.fail("a frame was read"))
    for name in (source, target):
        write_set(name, tmp_path / name)
    with pytest.raises(InputError, match=message):
        run_train(labelled(target, tmp_path, method, source), tmp_path / "run", ONE_CPU)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(("moments", "frames"), [(None, 12), (3, 9), (1, 3)])
def test_moments_keep_their_views(tmp_path, moments, frames):
    """A rendered set of three views is thinned by moments."""
    render_set(RenderConfig("studio", count=12, size_px=32, track="hand-depth"), tmp_path / "set")
    preset = preset_of("datasets/hand-depth", "multi-view-fusion")
    ref = DatasetRef("rendered-depth", tmp_path / "set")
    batch = DepthCubes(ref, preset.model, None, SkippedList(tmp_path / "s"), 0).unlabelled(("train",), moments).all()
    assert len(batch) == frames
    assert {*Counter(zip(batch.sequence, batch.frame.tolist(), strict=True)).values()} == {3}


def test_files_that_readers_leave_out_are_listed(tmp_path):
    for name in ("msra", "icvl"):
        write_set(name, tmp_path / name)
    (tmp_path / "icvl/Training/Depth/r/image_1.png").unlink()
    record = run_train(labelled("icvl", tmp_path, "source-only"), tmp_path / "run", ONE_CPU).record
    assert any("image_1.png" in skipped.file for skipped in record.skipped)
    assert "image_1.png" in (tmp_path / "run/skipped.json").read_text()


def test_image_networks_train_on_renders_of_mano(tmp_path):
    write_set("icvl", tmp_path / "icvl")
    mano = write_mano(tmp_path / "mano.npz")
    config = TrainConfig(target=DatasetRef("icvl", tmp_path / "icvl"), method="source-only", mano=mano)
    assert "source_only" in run_train(config, tmp_path / "run", ONE_CPU).record.scores


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"whole": True, "same": True}, "the source would contain the scored frames: leave whole_set out"),
        ({"mano": Path("mano.npz")}, "leave --mano out: the source is a dataset"),
        ({"whole": True, "target_split": "both"}, "whole_set makes both splits the same frames: leave --target-split"),
        ({"whole": True, "method": "supervised-target"}, "would train on the scored frames: leave whole_set out"),
    ],
    ids=["same", "mano", "both", "supervised"],
)
def test_flags_that_do_not_fit(tmp_path, changes, message):
    options = DatasetOptions(whole_set=changes.pop("whole", None))
    config = TrainConfig(
        target=DatasetRef("rendered-depth", tmp_path, options),
        source=DatasetRef("msra", tmp_path if changes.pop("same", False) else tmp_path / "msra"),
        method=changes.pop("method", "mean-teacher"),
    )
    with pytest.raises(InputError, match=message):
        run_train(replace(config, **changes), tmp_path / "run", ONE_CPU)
