"""``train`` and ``resume`` of a published transfer, as they are typed."""

import shutil
import typing

import numpy as np
import pytest

from posebridge import cli, cli_train
from posebridge.contracts.keypoint_set import KeypointSet
from posebridge.recipes import depth_transfers, transfer
from posebridge.recipes.transfers import TRANSFERS
from posebridge.training import integrated_labels
from recipes.small_runs import CPU_FLAGS
from recipes.transfer_sets import tiny, write_sets

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(autouse=True)
def little_recipes(monkeypatch):
    monkeypatch.setattr(integrated_labels, "_SOURCE_BATCHES", 1)
    monkeypatch.setattr(integrated_labels, "_SOURCE_BATCH", 8)
    for name in list(TRANSFERS):
        monkeypatch.setitem(TRANSFERS, name, tiny(name))


def train(folders, out, *flags, recipe: str = "rhd-to-h3d") -> int:
    given = ("train", recipe, "--source", folders[0], "--target", folders[1], "--out", out, *flags, *CPU_FLAGS)
    return cli.main([*map(str, given)])


def test_names_of_recipes_and_methods():
    colour, depth = {*typing.get_args(transfer.TransferName)}, {*typing.get_args(depth_transfers.DepthRecipe)}
    assert (colour, depth) == ({*TRANSFERS}, {*depth_transfers.BENCHMARKS})
    assert {*typing.get_args(cli_train.Recipe)} == colour | depth
    assert {*typing.get_args(cli_train.DepthRecipe)} == depth
    assert {*typing.get_args(cli_train.Method)} == {*typing.get_args(transfer.TransferMethod), "multi-view-fusion"}


def test_train_tells_its_numbers_and_can_be_resumed(sets, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert train(sets["rhd-to-h3d"], out, "--method", "mean-teacher", "--hand", "right") == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    for line, role in zip(printed, ("source only", "adapted"), strict=False):
        assert line.startswith(f"{role}: PCK@0.05 ")
        assert line.endswith(" mm on 4 frames of H3D")
    assert printed[2:] == [
        f"Model: {out / 'model.safetensors'}",
        f"Predictions: {out / 'predictions.npz'}",
        f"Report: {out / 'report.html'}",
    ]
    report = (out / "report.html").read_text()
    assert "RHD to H3D" in report
    assert "UniFrame" in report  # among the published
    before = KeypointSet.load(out / "predictions.npz").uv_px
    shutil.rmtree(out / "stages" / "2-mean-teacher")  # as if it had been stopped before
    monkeypatch.chdir(tmp_path)
    assert cli.main(["resume", str(out), *CPU_FLAGS]) == 0
    assert capsys.readouterr().out.splitlines() == printed
    np.testing.assert_array_equal(KeypointSet.load(out / "predictions.npz").uv_px, before)


def test_workers_change_nothing(sets, tmp_path):
    predictions = []
    for workers in (0, 2):
        out, flags = tmp_path / str(workers), ("--method", "source-only", "--workers", workers)
        assert train(sets["surreal-to-3dpw"], out, *flags, recipe="surreal-to-3dpw") == 0
        predictions.append(KeypointSet.load(out / "predictions.npz").uv_px)
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize(
    ("recipe", "source", "target", "flags", "words"),
    [
        ("rhd-to-h3d", "absent", None, (), "absent is no folder: give the one of RHD, which holds training/ and"),
        ("rhd-to-h3d", None, "absent", (), "absent is no folder: give the one of H3D, which holds annotation.json"),
        ("rhd-to-h3d", "empty", None, (), "anno_training.pickle"),
        ("rhd-to-h3d", None, "empty", (), "annotation.json"),
        ("rhd-to-mvhand", None, "empty", (), "calib.pkl"),
        ("surreal-to-human36m", "empty", None, (), "cmu/train"),
        ("surreal-to-human36m", None, "empty", (), "metadata.xml"),
        ("surreal-to-3dpw", None, "empty", (), "sequenceFiles/train"),
        ("rhd-to-mvhand", None, None, ("--hand", "left"), "MVHand needs no word on the hand: leave --hand out"),
        ("rhd-to-h3d", None, None, ("--encoder-weights", "absent.pth"), "absent.pth"),
    ],
)
def test_refusals_are_one_line(sets, tmp_path, recipe, source, target, flags, words, capsys):
    (tmp_path / "empty").mkdir()
    folders = [tmp_path / given if given else own for given, own in zip((source, target), sets[recipe], strict=True)]
    assert train(folders, tmp_path / "run", *flags, recipe=recipe) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_another_method_does_not_go_on_with_a_run(sets, tmp_path, capsys):
    assert train(sets["rhd-to-h3d"], tmp_path / "run", "--method", "source-only") == 0
    assert train(sets["rhd-to-h3d"], tmp_path / "run", "--method", "mean-teacher") == 2
    assert "holds a run of another config" in capsys.readouterr().err
